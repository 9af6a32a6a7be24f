"""Corrupted test sets: five severities per corruption, labels either way."""

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.data import corruptions
from tests import helpers


class CorruptionsTest(parameterized.TestCase):
  def _folder(self, *, labels=10):
    folder = helpers.folder(self)
    images = np.zeros((10, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(10)
    np.save(folder / 'fog.npy', images)
    np.save(folder / 'blur.npy', images + 100)
    np.save(folder / 'labels.npy', np.arange(labels, dtype=np.uint8))
    return folder

  @parameterized.parameters(10, 2)
  def test_severities(self, labels):
    """Labels are given per severity, or once for all severities."""
    folder = corruptions.Folder(str(self._folder(labels=labels)), (4, 4, 1))
    self.assertEqual(folder.names, ['blur', 'fog'])
    parts = list(folder.read())
    self.assertLen(parts, 10)
    name, severity, part = parts[7]
    self.assertEqual((name, severity), ('fog', 3))
    self.assertEqual(part.images[:, 0, 0, 0].tolist(), [4, 5])
    self.assertEqual(part.labels.tolist(), [4, 5] if labels == 10 else [0, 1])
    # Nothing is copied before rows are taken.
    self.assertFalse(part.images.flags.owndata)

  def test_bad_folders(self):
    with self.assertRaisesRegex(FileNotFoundError, 'zenodo.org/records'):
      corruptions.Folder('/nowhere', (4, 4, 1))
    folder = self._folder()
    with self.assertRaisesRegex(ValueError, r'blur.npy should .*8, 8, 1\]'):
      corruptions.Folder(str(folder), (8, 8, 1))
    folder = self._folder(labels=7)
    with self.assertRaisesRegex(ValueError, 'has 7 labels, blur.npy 10'):
      corruptions.Folder(str(folder), (4, 4, 1))


if __name__ == '__main__':
  absltest.main()
