"""APGD: its schedule, its best point, its steps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import losses
from peeraid_jax.attacks import apgd
from tests import helpers, linear


class APGDTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (100, [22, 41, 57, 70, 80, 87, 93, 99]),
    (50, [11, 21, 30, 38, 45]),
    (20, [4, 7, 9, *range(10, 21)]),
    (10, list(range(2, 11))),
    (5, [1, 2, 3, 4, 5]),
  )
  def test_checkpoints(self, steps, expected):
    self.assertEqual(apgd.checkpoints(steps), expected)

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_best_loss_and_ball(self, norm):
    net = helpers.net()
    data = helpers.digits(12)
    images = jnp.asarray(data.images / np.float32(255))
    labels = jnp.asarray(data.labels)
    epsilon = {'Linf': 0.1, 'L2': 0.8, 'L1': 4.0}[norm]
    loss = lambda z: losses.cross_entropy(z, labels)
    fn = lambda x, keys: net.eval(x).logits

    @jax.jit
    def run(key):
      found = apgd.apgd(
        fn,
        images,
        labels,
        key,
        loss=loss,
        epsilon=epsilon,
        norm=norm,
        steps=10,
        stop_early=False,
      )
      starts = apgd.random_start(
        images,
        jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i))[0])(
          jnp.arange(12)
        ),
        epsilon=epsilon,
        norm=norm,
      )
      return found, loss(fn(found.best, None)), loss(fn(starts, None))

    found, at_best, at_start = run(jax.random.key(0))
    np.testing.assert_allclose(found.best_loss, at_best, rtol=1e-5)
    self.assertTrue(np.all(found.best_loss >= at_start - 1e-6))
    self.assertGreater(float((found.best_loss - at_start).min()), 0)
    delta = np.asarray(found.best - images).reshape(12, -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    size = np.linalg.norm(delta, order, axis=-1)
    self.assertLessEqual(size.max(), epsilon + 1e-5)

  def test_start_reaches_the_surface(self):
    images = jnp.full((6, *linear.SHAPE), 0.5)
    keys = jax.random.split(jax.random.key(0), 6)
    for norm, order in (('Linf', np.inf), ('L2', 2), ('L1', 1)):
      x = apgd.random_start(images, keys, epsilon=0.1, norm=norm)
      size = np.linalg.norm(
        np.asarray(x - images).reshape(6, -1), order, axis=-1
      )
      np.testing.assert_allclose(size, 0.1, rtol=1e-4)

  def test_step_is_halved_where_the_loss_does_not_grow(self):
    """On a flat loss every second checkpoint after the first halves."""
    images = jnp.full((1, *linear.SHAPE), 0.5)
    seen = []

    def fn(x, keys):
      del keys
      jax.debug.callback(lambda v: seen.append(np.asarray(v)), x, ordered=True)
      # A slope everywhere, and a loss that never grows.
      flat = (x - jax.lax.stop_gradient(x)).sum((1, 2, 3))
      return jnp.stack([flat, -flat], -1)

    apgd.apgd(
      fn,
      images,
      jnp.zeros(1, int),
      jax.random.key(0),
      loss=lambda z: z[:, 0],
      epsilon=0.1,
      steps=20,
      start=images,
    )
    jax.effects_barrier()
    # The gradient is 1: from the best point, which stays the start, each
    # first step after a checkpoint shows the step size, cut at the ball.
    moves = [float((x - images).max()) for x in seen]
    self.assertEqual(moves[0], 0)
    self.assertAlmostEqual(moves[1], 0.1, places=6)
    self.assertLess(moves[-1], 0.01)


if __name__ == '__main__':
  absltest.main()
