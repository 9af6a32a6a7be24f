"""Subsets and validation sets: stratified, seeded, in order."""

import numpy as np
from absl.testing import absltest

from peeraid_jax import data


class SplitsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    labels = np.repeat(np.arange(4, dtype=np.int32), (40, 30, 20, 10))
    images = np.arange(100, dtype=np.uint8).reshape(-1, 1, 1, 1)
    self.data = data.Dataset(images, labels)

  def test_subset_is_stratified_seeded_and_ordered(self):
    part = data.subset(self.data, 20, seed=1)
    np.testing.assert_array_equal(np.bincount(part.labels), (8, 6, 4, 2))
    rows = part.images.ravel()
    self.assertTrue(np.all(np.diff(rows.astype(int)) > 0))
    again = data.subset(self.data, 20, seed=1)
    np.testing.assert_array_equal(rows, again.images.ravel())
    other = data.subset(self.data, 20, seed=2)
    self.assertFalse(np.array_equal(rows, other.images.ravel()))
    self.assertIs(data.subset(self.data, 0, seed=1), self.data)

  def test_hold_out_parts(self):
    rest, held = data.hold_out(self.data, 10, seed=1)
    self.assertEqual((len(rest.labels), len(held.labels)), (90, 10))
    rows = np.concatenate([rest.images.ravel(), held.images.ravel()])
    np.testing.assert_array_equal(np.sort(rows), np.arange(100))
    np.testing.assert_array_equal(np.bincount(held.labels), (4, 3, 2, 1))

  def test_too_many(self):
    with self.assertRaisesRegex(ValueError, 'train_examples=101 .* 100'):
      data.subset(self.data, 101, seed=1)
    with self.assertRaisesRegex(ValueError, 'validation_examples=100 .* 99'):
      data.hold_out(self.data, 100, seed=1)


if __name__ == '__main__':
  absltest.main()
