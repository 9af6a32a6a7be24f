"""The engine: cutting points into batches, checking the ball and the box."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import engine as engine_lib
from peeraid_jax.autoattack import suite
from tests import linear


def _engine(norm='Linf', epsilon=0.1, batch_size=16):
  fn, _ = linear.network(3)
  images, labels = linear.points(fn, count=40)
  settings = suite.settings_of(
    'standard', norm=norm, epsilon=epsilon, classes=3
  )
  return engine_lib.Engine(
    (fn, None),
    images,
    labels,
    settings,
    key=jax.random.key(0),
    batch_size=batch_size,
    devices=jax.local_devices()[:1],
  )


class EngineTest(parameterized.TestCase):
  @parameterized.parameters(
    (40, [16, 16, 2, 2, 2, 2]), (25, [16, 9]), (16, [16]), (3, [2, 1])
  )
  def test_points_left_over_go_into_small_batches(self, count, expected):
    points = np.arange(100, 100 + count)
    batches = _engine().batches(points)
    self.assertEqual([len(rows) for rows in batches], expected)
    np.testing.assert_array_equal(np.concatenate(batches), points)

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_inside(self, norm):
    engine = _engine(norm)
    rows = np.arange(2)
    one_pixel = np.zeros_like(engine.images[rows])
    one_pixel[:, 0, 0] = 1
    for size, expected in ((0.1, True), (0.1001, False)):
      moved = engine.images[rows] + np.float32(size) * one_pixel
      np.testing.assert_array_equal(engine.inside(rows, moved), expected)
    # A point can lie in the ball and outside of the box.
    engine.images[rows] = 0.95
    moved = engine.images[rows] + np.float32(0.06) * one_pixel
    np.testing.assert_array_equal(engine.inside(rows, moved), False)
    moved = engine.images[rows] + np.float32(0.05) * one_pixel
    np.testing.assert_array_equal(engine.inside(rows, moved), True)


if __name__ == '__main__':
  absltest.main()
