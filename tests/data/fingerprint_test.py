"""Fingerprints tell changed images from the same, in memory and on disk."""

import json
import shutil
import zlib

import numpy as np
from absl.testing import absltest

from peeraid_jax import data
from peeraid_jax.data import fingerprint
from tests import helpers
from tests.data import makers


class FingerprintTest(absltest.TestCase):
  def test_in_memory(self):
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    labels = np.arange(9, dtype=np.int32)
    whole = fingerprint.of(data.Dataset(images, labels))
    self.assertEqual(json.loads(json.dumps(whole)), whole)
    self.assertEqual(whole['examples'], 9)
    # As runs have recorded it from the beginning.
    self.assertEqual(whole['labels_crc32'], zlib.crc32(labels.tobytes()))
    columns = np.asfortranarray(images)
    self.assertEqual(fingerprint.of(data.Dataset(columns, labels)), whole)
    others = [images[::-1], images.reshape(9, 4, 3, 4), images[:8]]
    changed = images.copy()
    changed[5, 2, 1, 0] ^= 1
    for other in (changed, *others):
      found = fingerprint.of(data.Dataset(other, labels[: len(other)]))
      self.assertNotEqual(found['images_crc32'], whole['images_crc32'])

  def test_in_chunks(self):
    images = np.random.default_rng(0).integers(
      0, 256, (9000, 2, 2, 1), np.uint8
    )
    data_set = data.Dataset(images, np.zeros(9000, np.int32))
    start = zlib.crc32(np.array(images.shape).tobytes())
    self.assertEqual(
      fingerprint.of(data_set)['images_crc32'],
      zlib.crc32(images.tobytes(), start),
    )

  def test_on_disk(self):
    folder = helpers.folder(self)
    makers.photographs(folder / 'train', {'cat': 50, 'dog': 50})
    (folder / 'val').mkdir()

    def load(where=folder):
      return data.load(
        'folder', split='train', data_dir=str(where), stream=True, image_size=8
      )

    whole = fingerprint.of(load())
    self.assertEqual(whole['examples'], 100)
    part = fingerprint.of(load().take(slice(0, 50)))
    self.assertNotEqual(part['images_crc32'], whole['images_crc32'])
    with self.subTest('a folder that has moved'):
      moved = shutil.copytree(folder, helpers.folder(self) / 'moved')
      self.assertEqual(fingerprint.of(load(moved)), whole)
    first = folder / 'train' / 'cat' / '000.jpg'
    content = first.read_bytes()
    with self.subTest('other pixels'):
      first.write_bytes((folder / 'train' / 'dog' / '000.jpg').read_bytes())
      self.assertNotEqual(fingerprint.of(load()), whole)
      first.write_bytes(content)
    with self.subTest('another name'):
      first.rename(first.with_name('0.jpg'))
      self.assertNotEqual(fingerprint.of(load()), whole)


if __name__ == '__main__':
  absltest.main()
