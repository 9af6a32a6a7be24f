"""Readers of the public archives: every image, in the original order."""

import io
import itertools
import os
import pathlib
import unittest

import numpy as np
import scipy.io
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import data
from peeraid_jax.data import archives
from tests import helpers
from tests.data import makers

# A folder of real data: a TinyImageNet zip, of all or some of its images.
REAL = os.environ.get('PEERAID_TEST_DATA', '')


class ReaderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def test_cifar10_keeps_its_order(self):
    rng = np.random.default_rng(0)
    batches = {}
    names = [f'data_batch_{i}.bin' for i in range(1, 6)]
    for member in [*names, 'test_batch.bin']:
      rows = rng.integers(0, 256, (7, 3073), dtype=np.uint8)
      rows[:, 0] = rng.integers(0, 10, 7)
      batches[member] = rows
    path = self.folder / 'cifar-10-binary.tar.gz'
    makers.cifar(path, 'cifar-10-batches-bin', batches)
    train = data.load('cifar10', split='train', data_dir=self.folder)
    rows = np.concatenate([batches[n] for n in names])
    np.testing.assert_array_equal(train.labels, rows[:, 0])
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(train.images, images)
    # Once prepared, the archive is not needed.
    path.unlink()
    test = data.load('cifar10', split='test', data_dir=self.folder)
    np.testing.assert_array_equal(test.labels, batches['test_batch.bin'][:, 0])

  def test_cifar100_has_the_fine_label(self):
    rows = np.zeros((3, 3074), np.uint8)
    rows[:, 0], rows[:, 1] = (1, 2, 3), (99, 4, 50)
    path = self.folder / 'cifar-100-binary.tar.gz'
    makers.cifar(
      path, 'cifar-100-binary', {'train.bin': rows, 'test.bin': rows}
    )
    train = data.load('cifar100', split='train', data_dir=self.folder)
    np.testing.assert_array_equal(train.labels, (99, 4, 50))

  def test_svhn_calls_the_digit_zero_zero(self):
    for split in ('train', 'test'):
      images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4))
      scipy.io.savemat(
        self.folder / f'{split}_32x32.mat',
        {'X': images.astype(np.uint8), 'y': np.array([[10], [1], [9], [5]])},
      )
    test = data.load('svhn', split='test', data_dir=self.folder)
    np.testing.assert_array_equal(test.labels, (0, 1, 9, 5))
    np.testing.assert_array_equal(test.images[2], images[..., 2])

  @parameterized.parameters('zip', 'folder', 'source')
  def test_tinyimagenet(self, form):
    members = makers.tiny_members()
    kwargs = {'data_dir': self.folder / 'prepared'}
    kwargs['data_dir'].mkdir()
    if form == 'folder':
      for name, content in members.items():
        path = kwargs['data_dir'] / 'tiny-imagenet-200' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    elif form == 'zip':
      makers.zip_of(kwargs['data_dir'] / 'tiny-imagenet-200.zip', members)
    else:
      kwargs['source'] = str(makers.zip_of(self.folder / 'part.zip', members))
    train = data.load('tinyimagenet', split='train', **kwargs)
    # By class as in wnids.txt, then by number: 0, 2, 10.
    np.testing.assert_array_equal(train.labels, (0, 0, 0, 1, 1, 1, 2, 2, 2))
    self.assertEqual(train.images.shape, (9, 64, 64, 3))
    red = train.images[:, 32, 32, 0].astype(int)
    np.testing.assert_allclose(red, (0, 2, 10, 20, 22, 30, 40, 42, 50), atol=3)
    grey = train.images[5]  # class 1, number 10: replicated to three channels
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    test = data.load('tinyimagenet', split='test', **kwargs)
    np.testing.assert_array_equal(test.labels, (2, 0))


class DamagedArchiveTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _read(self, path, split='train'):
    return list(archives.read_tiny_imagenet('', [path], split))

  def test_truncated_zip(self):
    path = makers.zip_of(self.folder / 'a.zip', makers.tiny_members())
    path.write_bytes(path.read_bytes()[:-500])
    with self.assertRaisesRegex(ValueError, 'complete zip of 237 MiB'):
      self._read(path)

  def test_foreign_zip(self):
    path = makers.zip_of(self.folder / 'a.zip', {'x.txt': b''}, root='other/')
    with self.assertRaisesRegex(ValueError, 'no wnids.txt'):
      self._read(path)

  def test_damaged_member_is_named(self):
    members = makers.tiny_members()
    name = next(n for n in members if n.endswith('_10.JPEG'))
    path = makers.zip_of(self.folder / 'a.zip', members)
    raw = path.read_bytes()
    offset = raw.index(members[name]) + 300
    path.write_bytes(raw[:offset] + b'\0\0\0\0' + raw[offset + 4 :])
    with self.assertRaisesRegex(ValueError, f'{name} is damaged'):
      self._read(path)

  def test_image_that_does_not_decode_is_named(self):
    members = makers.tiny_members()
    members['val/images/val_1.JPEG'] = b'not an image'
    path = makers.zip_of(self.folder / 'a.zip', members)
    with self.assertRaisesRegex(ValueError, 'val_1.JPEG does not decode'):
      self._read(path, 'test')

  def test_wrong_size_and_wrong_classes(self):
    members = makers.tiny_members()
    big = io.BytesIO()
    Image.new('RGB', (65, 64)).save(big, 'JPEG')
    members['val/images/val_1.JPEG'] = big.getvalue()
    path = makers.zip_of(self.folder / 'a.zip', members)
    with self.assertRaisesRegex(ValueError, r'64x64, got \(65, 64\)'):
      self._read(path, 'test')
    members['wnids.txt'] = b'n1\nn2\n'
    path = makers.zip_of(self.folder / 'b.zip', members)
    with self.assertRaisesRegex(ValueError, 'should list 200 classes'):
      self._read(path)

  def test_nothing_is_written_outside(self):
    members = makers.tiny_members(1)
    for evil in ('../../evil.JPEG', '/evil.JPEG'):
      members[f'train/n00009000/images/{evil}'] = makers.jpeg(1)
    inner = self.folder / 'inner'
    inner.mkdir()
    makers.zip_of(inner / 'tiny-imagenet-200.zip', members)
    data.load('tinyimagenet', split='train', data_dir=inner)
    self.assertEqual([p.name for p in self.folder.iterdir()], ['inner'])
    self.assertEqual(list(self.folder.rglob('*evil*')), [])

  @parameterized.parameters(
    (b'no gzip', 'readable .tar.gz'),
    (None, 'no data_batch_1.bin'),
  )
  def test_bad_cifar(self, content, message):
    path = self.folder / 'cifar-10-binary.tar.gz'
    makers.cifar(path, 'x', {'y.bin': np.zeros(3, np.uint8)})
    if content:
      path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, message):
      list(archives.read_cifar('cifar10', [path], 'train'))

  def test_bad_svhn(self):
    path = self.folder / 'train_32x32.mat'
    path.write_bytes(b'no matrix' * 50)
    with self.assertRaisesRegex(ValueError, 'MATLAB file with X and y'):
      list(archives.read_svhn('svhn', [path], 'train'))


@unittest.skipUnless(REAL, 'PEERAID_TEST_DATA names no folder of real data')
class RealArchiveTest(absltest.TestCase):
  def test_tinyimagenet_zip(self):
    paths = sorted(pathlib.Path(REAL).glob('tiny-imagenet-200*.zip'))
    if not paths:
      self.skipTest(f'no tiny-imagenet-200*.zip in {REAL}')
    for split, count in (('train', 250), ('test', 100)):
      reader = archives.read_tiny_imagenet('', paths[:1], split)
      ids, images, labels = zip(*itertools.islice(reader, count), strict=True)
      self.assertEqual(sorted(ids), list(ids))
      self.assertTrue(all(i.size == (64, 64) for i in images))
      self.assertTrue(all(i.mode == 'RGB' for i in images))
      self.assertLess(max(labels), 200)
      if split == 'train':
        self.assertEqual(sorted(labels), list(labels))


if __name__ == '__main__':
  absltest.main()
