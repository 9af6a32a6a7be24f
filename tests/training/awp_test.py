"""AWP: what is perturbed, how far, and what the optimizer then does."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest

from peeraid_jax import nets
from peeraid_jax.data import batches
from peeraid_jax.methods import base
from peeraid_jax.runtime import parallel
from peeraid_jax.training import awp
from peeraid_jax.training import step as step_lib
from tests import helpers


class PerturbationTest(chex.TestCase):
  def test_kernels_move_by_gamma_of_their_norm_along_the_gradient(self):
    params = {'kernel': jnp.full((3, 4), 2.0), 'bias': jnp.ones(4)}
    grads = {'kernel': jnp.zeros((3, 4)).at[1, 2].set(-7), 'bias': jnp.ones(4)}
    moved = awp.perturbation(params, grads, gamma=0.1)
    # ||w|| is sqrt(12) * 2, all of it along the one gradient that there is.
    expected = np.zeros((3, 4))
    expected[1, 2] = -0.1 * np.sqrt(48)
    np.testing.assert_allclose(moved['kernel'], expected, rtol=1e-6)
    np.testing.assert_array_equal(moved['bias'], 0)

  def test_no_gradient_no_move(self):
    params = {'kernel': jnp.ones((2, 2))}
    moved = awp.perturbation(params, {'kernel': jnp.zeros((2, 2))}, gamma=0.1)
    np.testing.assert_array_equal(moved['kernel'], 0)


class StepTest(chex.TestCase):
  def test_gradient_and_decay_are_those_of_the_perturbed_weights(self):
    """f(w) = w0^2 + 3 w1 on one kernel [[w0, w1]], by hand."""

    def loss(current, batch, adv):
      del batch, adv
      w = current['student'].params['kernel']
      value = w[0, 0] ** 2 + 3 * w[0, 1]
      return value, (dict(current), {})

    method = base.Method(
      ('student',), (), lambda nets, batch, keys: batch.images, loss
    )
    rate, decay, gamma = 0.1, 0.5, 0.2
    optimizer = optax.chain(
      optax.add_decayed_weights(decay), optax.scale(-rate)
    )
    net = nets.Net(
      {'kernel': jnp.array([[3.0, 4.0]])}, {}, helpers.net().module
    )
    state = step_lib.create_state(
      {'student': net}, {'student': optimizer}, swa=False
    )
    step = step_lib.make_train_step(
      method,
      {'student': optimizer},
      augmentation={'padding': 0, 'flip': False},
      wrappers=(awp.with_perturbation(gamma, 0, ('student',)),),
    )
    devices = jax.devices()[:1]
    mapped = step_lib.map_train_step(step, devices=devices)
    index = np.zeros((1, 1), np.int32)
    data = batches.Resident(*helpers.digits(4))
    state, metrics = mapped(
      parallel.replicate(state, devices),
      batches.Rows(index, index),
      parallel.replicate(data, devices),
      jax.random.key(0),
    )
    w = np.array([3.0, 4.0])
    ascent = np.array([6.0, 3.0])
    v = w + gamma * 5 * ascent / np.linalg.norm(ascent)
    expected = w - rate * (np.array([2 * v[0], 3]) + decay * v)
    np.testing.assert_allclose(
      state.nets['student'].params['kernel'][0], expected, rtol=1e-6
    )
    np.testing.assert_allclose(metrics['loss'], v[0] ** 2 + 3 * v[1], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
