"""Data: archives in, the same images out, in the order everybody has."""

import functools
import http.server
import io
import itertools
import os
import pathlib
import threading
import unittest
from unittest import mock

import numpy as np
import scipy.io
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import data
from peeraid_jax.data import archives, corruptions, facts, prepared
from tests import helpers, makers

# A folder with `tfds/` (prepared CIFAR-10) and a TinyImageNet zip.
REAL = os.environ.get('PEERAID_TEST_DATA', '')


class FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)


class LoadTest(FolderTest):
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

  def test_download(self):
    """From a server of our own at the address that the facts name."""
    served, prepared_in = self.folder / 'served', self.folder / 'prepared'
    served.mkdir()
    makers.zip_of(served / 'tiny-imagenet-200.zip', makers.tiny_members())
    handler = functools.partial(
      http.server.SimpleHTTPRequestHandler, directory=str(served)
    )
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self.addCleanup(server.server_close)
    self.addCleanup(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known = facts.get('tinyimagenet')._replace(
      url=f'http://127.0.0.1:{server.server_port}/'
    )
    with mock.patch.dict(facts.DATASETS, tinyimagenet=known):
      train = data.load(
        'tinyimagenet', split='train', data_dir=prepared_in, download=True
      )
    self.assertEqual(len(train.labels), 9)

  def test_missing_says_what_to_download_and_where_to_put_it(self):
    for name in set(facts.DATASETS) - {'digits', 'folder'}:
      known = facts.get(name)
      with self.assertRaises(FileNotFoundError) as caught:
        data.load(name, split='test', data_dir=self.folder)
      for part in (known.url + known.archives[0], str(self.folder)):
        self.assertIn(part, str(caught.exception))
    with self.assertRaisesRegex(FileNotFoundError, 'data.source=/none'):
      data.load(
        'tinyimagenet', split='test', data_dir=self.folder, source='/none'
      )

  def test_unknown_names(self):
    with self.assertRaisesRegex(ValueError, "'mnist' .*known: digits"):
      data.load('mnist', split='test')
    with self.assertRaisesRegex(ValueError, "'val' should be train or test"):
      data.load('digits', split='val')

  def test_default_folder(self):
    with mock.patch.dict(os.environ, {'TFDS_DATA_DIR': '/x'}):
      self.assertEqual(prepared.default_dir(), '/x')


class BadArchiveTest(FolderTest):
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

  def test_nothing_half_prepared_is_taken_for_whole(self):
    members = makers.tiny_members()
    good = dict(members)
    members['val/images/val_1.JPEG'] = b'not an image'
    path = makers.zip_of(self.folder / 'tiny-imagenet-200.zip', members)
    with self.assertRaisesRegex(ValueError, 'does not decode'):
      data.load('tinyimagenet', split='train', data_dir=self.folder)
    makers.zip_of(path, good)
    train = data.load('tinyimagenet', split='train', data_dir=self.folder)
    self.assertEqual(len(train.labels), 9)


@unittest.skipUnless(REAL, 'PEERAID_TEST_DATA names no folder of real data')
class RealDataTest(parameterized.TestCase):
  def test_cifar10_begins_as_everybodys(self):
    folder = os.path.join(REAL, 'tfds')
    test = data.load('cifar10', split='test', data_dir=folder)
    self.assertEqual(test.images.shape, (10_000, 32, 32, 3))
    # Cat, ship, ship, airplane, frog, frog, car, frog, cat, car.
    np.testing.assert_array_equal(
      test.labels[:10], (3, 8, 8, 0, 6, 6, 1, 6, 3, 1)
    )
    np.testing.assert_array_equal(np.bincount(test.labels), [1000] * 10)

  def test_tinyimagenet_zip(self):
    found = sorted(pathlib.Path(REAL).glob('tiny-imagenet-200*.zip'))
    if not found:
      self.skipTest(f'no tiny-imagenet-200*.zip in {REAL}')
    for split, count in (('train', 250), ('test', 100)):
      reader = archives.read_tiny_imagenet('', found[:1], split)
      ids, images, labels = zip(*itertools.islice(reader, count), strict=True)
      self.assertEqual(sorted(ids), list(ids))
      self.assertTrue(all(i.size == (64, 64) for i in images))
      self.assertTrue(all(i.mode == 'RGB' for i in images))
      self.assertLess(max(labels), 200)
      if split == 'train':
        self.assertEqual(sorted(labels), list(labels))


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
    """Labels of every image, or once for all severities."""
    made = corruptions.Folder(str(self._folder(labels=labels)), (4, 4, 1))
    self.assertEqual(made.names, ['blur', 'fog'])
    read = list(made.read())
    self.assertLen(read, 10)
    name, severity, part = read[7]
    self.assertEqual((name, severity), ('fog', 3))
    self.assertEqual(part.images[:, 0, 0, 0].tolist(), [4, 5])
    self.assertEqual(part.labels.tolist(), [4, 5] if labels == 10 else [0, 1])
    first = list(made.read(1))
    self.assertEqual(first[9][2].images[:, 0, 0, 0].tolist(), [8])
    self.assertLen(first[9][2].labels, 1)

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
