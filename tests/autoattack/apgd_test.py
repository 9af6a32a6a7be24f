"""APGD: checkpoints, best iterate, and its steps against a reference."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import losses
from peeraid_jax.autoattack import apgd
from tests import helpers, linear
from tests.autoattack import reference


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
      result = apgd.apgd(
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
      return result, loss(fn(result.best, None)), loss(fn(starts, None))

    result, loss_of_best, loss_of_start = run(jax.random.key(0))
    np.testing.assert_allclose(result.best_loss, loss_of_best, rtol=1e-5)
    self.assertTrue(np.all(result.best_loss >= loss_of_start - 1e-6))
    self.assertGreater(float((result.best_loss - loss_of_start).min()), 0)
    delta = np.asarray(result.best - images).reshape(12, -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    size = np.linalg.norm(delta, order, axis=-1)
    self.assertLessEqual(size.max(), epsilon + 1e-5)

  @parameterized.parameters(
    ('Linf', 0.04, 30), ('L2', 0.15, 30), ('L1', 0.5, 20)
  )
  def test_step_by_step(self, norm, epsilon, steps):
    """Compares with the reference, which follows the paper image by image."""
    network = reference.Network()
    images, labels = reference.points(network, 12, seed=2)
    keys = jax.random.split(jax.random.key(0), 12)
    settings = {'epsilon': epsilon, 'norm': norm, 'steps': steps}
    with jax.enable_x64(True):
      start = apgd.random_start(images, keys, epsilon=epsilon, norm=norm)
      result = jax.jit(
        lambda x, y, start: apgd.apgd(
          lambda x, keys: reference.logits_fn(network, x),
          x,
          y,
          keys,
          loss=lambda z: losses.cross_entropy(z, y),
          start=start,
          stop_early=False,
          **settings,
        )
      )(images, labels, start)
      expected = [
        reference.apgd(network, x, y, s, **settings)
        for x, y, s in zip(images, labels, np.asarray(start), strict=True)
      ]
    best, best_loss, adversarial = zip(*expected, strict=True)
    np.testing.assert_allclose(result.best_loss, best_loss, rtol=1e-4)
    np.testing.assert_allclose(result.best, best, atol=1e-4)
    broken = [a is not None for a in adversarial]
    np.testing.assert_array_equal(result.broken, broken)
    self.assertBetween(sum(broken), 3, 11)
    adversarial = [
      x if a is None else a for x, a in zip(images, adversarial, strict=True)
    ]
    np.testing.assert_allclose(result.images, adversarial, atol=1e-4)

  def test_shrinking_radii_step_by_step(self):
    network = reference.Network()
    images, labels = reference.points(network, 6)
    keys = jax.random.split(jax.random.key(0), 6)
    start_keys = jax.vmap(
      lambda k: jax.random.split(jax.random.fold_in(k, 0))[0]
    )
    with jax.enable_x64(True):
      result = jax.jit(
        lambda x, y: apgd.apgd_shrinking(
          lambda x, keys: reference.logits_fn(network, x),
          x,
          y,
          keys,
          loss=lambda z: losses.cross_entropy(z, y),
          epsilon=0.5,
          steps=11,
          stop_early=False,
        )
      )(images, labels)
      best = np.asarray(
        apgd.random_start(images, start_keys(keys), epsilon=1.5, norm='L1')
      )
      for radius, steps, given in (
        (1.5, 4, False),
        (1, 4, True),
        (0.5, 3, True),
      ):
        expected = []
        for x, y, start in zip(images, labels, best, strict=True):
          start = reference.project(start, x, radius, 'L1')
          expected.append(
            reference.apgd(
              network,
              x,
              y,
              start,
              epsilon=radius,
              norm='L1',
              steps=steps,
              given=given,
            )
          )
        best = [x for x, _, _ in expected]
    np.testing.assert_allclose(result.best, best, atol=1e-4)
    broken = [adversarial is not None for _, _, adversarial in expected]
    np.testing.assert_array_equal(result.broken, broken)

  def test_random_start_lies_on_the_surface(self):
    images = jnp.full((6, *linear.SHAPE), 0.5)
    keys = jax.random.split(jax.random.key(0), 6)
    for norm, order in (('Linf', np.inf), ('L2', 2), ('L1', 1)):
      x = apgd.random_start(images, keys, epsilon=0.1, norm=norm)
      size = np.linalg.norm(
        np.asarray(x - images).reshape(6, -1), order, axis=-1
      )
      np.testing.assert_allclose(size, 0.1, rtol=1e-4)

  def test_every_gradient_of_an_average_has_its_own_key(self):
    keys_of_calls = []

    def fn(x, keys):
      jax.debug.callback(
        lambda k: keys_of_calls.append(np.asarray(jax.random.key_data(k))), keys
      )
      flat = x.sum((1, 2, 3))
      return jnp.stack([flat, -flat], -1)

    apgd.apgd(
      fn,
      jnp.full((2, *linear.SHAPE), 0.5),
      jnp.zeros(2, int),
      jax.random.key(0),
      loss=lambda z: z[:, 0],
      epsilon=0.1,
      steps=3,
      samples=4,
    )
    jax.effects_barrier()
    self.assertLen(
      {k.tobytes() for keys in keys_of_calls for k in keys}, 2 * 4 * 4
    )

  def test_step_is_halved_where_the_loss_does_not_grow(self):
    """With a constant loss, every second checkpoint after the first halves."""
    images = jnp.full((1, *linear.SHAPE), 0.5)
    iterates = []

    def fn(x, keys):
      del keys
      jax.debug.callback(
        lambda v: iterates.append(np.asarray(v)), x, ordered=True
      )
      # The gradient is 1 everywhere, but the loss is always 0.
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
    # The best iterate stays the start. The first step after a checkpoint
    # begins there, and is as long as the step size, or the radius.
    moves = [float((x - images).max()) for x in iterates]
    self.assertEqual(moves[0], 0)
    self.assertAlmostEqual(moves[1], 0.1, places=6)
    self.assertLess(moves[-1], 0.01)


if __name__ == '__main__':
  absltest.main()
