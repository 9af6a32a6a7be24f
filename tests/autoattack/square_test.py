"""Square: schedule, bumps, margins that fall, and queries in parts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import square
from tests import linear


class SquareTest(chex.TestCase, parameterized.TestCase):
  def test_sides_of_the_schedule(self):
    sides = square.sides(5000, (32, 32), 'Linf')
    first = {}
    for query, side in enumerate(sides):
      first.setdefault(side, query)
    self.assertEqual(
      first,
      {29: 0, 20: 11, 14: 51, 10: 201, 7: 501, 5: 1001, 4: 2001, 3: 4001},
    )
    for side in square.sides(5000, (32, 32), 'L2'):
      self.assertEqual(side % 2, 1)
      self.assertGreaterEqual(side, 3)

  @parameterized.parameters('L2', 'L1')
  def test_bumps(self, norm):
    bump = square.bumps(7, norm)
    length = np.abs(bump).sum() if norm == 'L1' else np.sqrt((bump**2).sum())
    self.assertAlmostEqual(length, 1, places=5)
    self.assertTrue((bump[:3] > 0).all() and (bump[3:] < 0).all())

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_margins_fall_and_one_window_changes(self, norm):
    fn, _ = linear.network(3)
    images, labels = linear.points(fn, wrong=0)
    epsilon = {'Linf': 0.004, 'L2': 0.02, 'L1': 0.05}[norm]
    settings = {'epsilon': epsilon, 'norm': norm}
    key = jax.random.key(0)
    state = square.begin(fn, images, labels, key, **settings)
    advance = jax.jit(
      lambda state, query: square.advance(
        fn, images, labels, key, state, query, 1, queries=60, **settings
      )
    )
    sides = square.sides(60, linear.SHAPE[:2], norm)
    if norm == 'Linf':
      delta = np.abs(np.asarray(state.images) - images)
      np.testing.assert_allclose(delta, epsilon, atol=1e-6)
    improved = 0
    for query in range(12):
      new = advance(state, query)
      self.assertTrue(bool((new.margin <= state.margin).all()))
      improved += int((new.margin < state.margin).sum())
      if norm == 'Linf':
        changed = np.abs(np.asarray(new.images - state.images)).max(-1) > 1e-7
        for image in changed:
          rows, columns = np.nonzero(image)
          if len(rows):
            self.assertLess(np.ptp(rows), sides[query])
            self.assertLess(np.ptp(columns), sides[query])
      state = new
    self.assertGreater(improved, 5)
    delta = np.asarray(state.images - images).reshape(len(images), -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    self.assertLessEqual(
      np.linalg.norm(delta, order, axis=-1).max(), epsilon * (1 + 1e-4)
    )

  def test_constant_logits_keep_the_first_image(self):
    """A candidate with the same margin is not taken."""
    images = np.full((4, *linear.SHAPE), 0.5, np.float32)
    labels, key = np.zeros(4, int), jax.random.key(0)
    fn = lambda x: jnp.tile(jnp.array([[1.0, 0.0]]), (len(x), 1))
    first = square.begin(fn, images, labels, key, epsilon=0.1)
    last = square.advance(fn, images, labels, key, first, 0, 3, epsilon=0.1)
    chex.assert_trees_all_equal(first, last)

  def test_the_first_image_fills_the_ball_in_l1(self):
    """Also if half of the pixels are 0, and can only increase."""
    fn, _ = linear.network(3)
    images = np.full((4, *linear.SHAPE), 0.5, np.float32)
    images[:, ::2] = 0
    labels = np.asarray(fn(images)).argmax(-1)
    state = square.begin(
      fn, images, labels, jax.random.key(0), epsilon=0.8, norm='L1'
    )
    delta = np.abs(np.asarray(state.images) - images).sum((1, 2, 3))
    np.testing.assert_allclose(delta, 0.8, rtol=1e-4)

  def test_parts_equal_the_whole(self):
    fn, _ = linear.network(3)
    images, labels = linear.points(fn, wrong=0)
    settings = {'epsilon': 0.01, 'queries': 30}
    key = jax.random.key(0)
    whole = square.square(fn, images, labels, key, **settings)
    state = square.begin(fn, images, labels, key, epsilon=0.01)
    for query in (0, 10, 20):
      state = square.advance(
        fn, images, labels, key, state, query, 10, **settings
      )
    parts = square.result(fn, images, labels, state)
    chex.assert_trees_all_equal(whole, parts)


if __name__ == '__main__':
  absltest.main()
