"""FAB: exact on linear networks, and what it stores."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.attacks import fab
from tests import linear


class FABTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_distance_of_fab(self, norm):
    fn, weights = linear.network(3)
    images, labels = linear.points(fn, wrong=0)
    exact = linear.radii(fn, weights, images, labels, norm)
    run = jax.jit(
      lambda x, y: fab.fab(
        fn, x, y, jax.random.key(0), epsilon=1.0, norm=norm, steps=30
      )
    )
    found = run(images, labels)
    # The found point lies a little behind the boundary: eta is 1.05.
    np.testing.assert_array_less(exact * (1 - 1e-4), found.distance)
    np.testing.assert_array_less(found.distance, exact * 1.06)
    outside = fab.fab(
      fn, images, labels, jax.random.key(0), epsilon=0.0, norm=norm, steps=3
    )
    self.assertFalse(bool(outside.broken.any()))
    np.testing.assert_array_equal(outside.images, images)

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_what_it_stores(self, norm):
    """Misclassified points only, ever nearer ones."""
    inner, _ = linear.network(4)
    fn = lambda x: jnp.sin(inner(x))
    images, _ = linear.points(fn)
    labels = fn(images).argmax(-1)
    run = jax.jit(
      lambda steps: fab.fab(
        fn,
        images,
        labels,
        jax.random.key(0),
        epsilon=1e9,
        norm=norm,
        steps=steps,
      )
    )
    before = np.full(len(images), 1e10)
    for steps in (1, 2, 4, 8, 16):
      found = run(steps)
      self.assertTrue(np.all(found.distance <= before))
      before = np.asarray(found.distance)
      wrong = fn(found.images).argmax(-1) != labels
      np.testing.assert_array_equal(wrong, found.broken)
      delta = np.asarray(found.images - images).reshape(len(images), -1)
      order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
      np.testing.assert_allclose(
        np.linalg.norm(delta, order, axis=-1)[found.broken],
        found.distance[found.broken],
        rtol=1e-4,
      )
    self.assertGreater(found.broken.sum(), 20)


if __name__ == '__main__':
  absltest.main()
