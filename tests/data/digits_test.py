"""Digits: a fixed stratified split, and no image in both parts."""

import numpy as np
from absl.testing import absltest

from peeraid_jax import data


class DigitsTest(absltest.TestCase):
  def test_digits(self):
    train = data.load('digits', split='train')
    test = data.load('digits', split='test')
    for part, count in ((train, 1437), (test, 360)):
      self.assertEqual(part.images.shape, (count, 8, 8, 1))
      self.assertEqual(part.images.dtype, np.uint8)
      self.assertEqual(part.labels.dtype, np.int32)
      self.assertEqual(part.images.max(), 255)
      self.assertLess(np.ptp(np.bincount(part.labels) / count), 0.01)
    self.assertEqual(
      len(np.unique(np.concatenate([train.images, test.images]), axis=0)),
      1797,
    )


if __name__ == '__main__':
  absltest.main()
