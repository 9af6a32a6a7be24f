"""Prepared data sets: images that stay on disk equal those in memory."""

import functools
import os
import unittest
from unittest import mock

import numpy as np
import pytest
from absl.testing import absltest

from peeraid_jax import data
from peeraid_jax.data import batches, prepared
from tests import helpers
from tests.data import makers

# A folder of real data: tfds/ (prepared CIFAR-10) and a TinyImageNet zip.
REAL = os.environ.get('PEERAID_TEST_DATA', '')


class PreparedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder, self.cache = helpers.folder(self), helpers.folder(self)
    self.enter_context(
      mock.patch.dict(os.environ, {'XDG_CACHE_HOME': str(self.cache)})
    )

  def test_tinyimagenet_as_in_memory(self):
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    for split in ('train', 'test'):
      with self.subTest(split):
        kwargs = {'split': split, 'data_dir': str(self.folder)}
        resident = data.load('tinyimagenet', **kwargs)
        # The first time writes an index of labels, the second time reads it.
        for _ in range(2):
          streamed = data.load('tinyimagenet', stream=True, **kwargs)
          np.testing.assert_array_equal(streamed.labels, resident.labels)
          np.testing.assert_array_equal(streamed.images, resident.images)
    (path,) = self.cache.rglob('*_train.npz')
    path.write_bytes(b'damaged')
    again = data.load(
      'tinyimagenet', split='train', data_dir=str(self.folder), stream=True
    )
    self.assertLen(again.labels, 9)
    with np.load(path) as index:
      self.assertLen(index['labels'], 9)

  def test_index_of_a_folder_that_changed(self):
    """Another order or other labels in files of the same names are noticed."""
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    kwargs = {'split': 'train', 'data_dir': str(self.folder), 'stream': True}
    right = data.load('tinyimagenet', **kwargs)
    (path,) = self.cache.rglob('*_train.npz')
    with np.load(path) as arrays:
      content = dict(arrays)
    content['labels'] = content['labels'][::-1]
    np.savez(path, **content)
    misled = data.load('tinyimagenet', **kwargs)
    np.testing.assert_array_equal(misled.labels, right.labels[::-1])
    (records,) = self.folder.rglob('*train*array_record*')
    os.utime(records, (0, 0))
    again = data.load('tinyimagenet', **kwargs)
    np.testing.assert_array_equal(again.labels, right.labels)

  def test_folders_that_cannot_be_written(self):
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    kwargs = {'split': 'train', 'data_dir': str(self.folder)}
    resident = data.load('tinyimagenet', **kwargs)
    before = sorted(self.folder.rglob('*'))
    for place in (str(self.folder / 'none' / 'in'), '/proc/none', 'relative'):
      (self.folder / 'none').touch()
      with mock.patch.dict(os.environ, XDG_CACHE_HOME=place, HOME='/proc/x'):
        streamed = data.load('tinyimagenet', stream=True, **kwargs)
      np.testing.assert_array_equal(streamed.labels, resident.labels)
      (self.folder / 'none').unlink()
      self.assertEqual(sorted(self.folder.rglob('*')), before)

  def test_imagenet(self):
    makers.imagenet(self.folder / 'downloads' / 'manual')
    kwargs = {
      'data_dir': str(self.folder),
      'stream': True,
      'image_size': 16,
    }
    train = data.load('imagenet', split='train', **kwargs)
    np.testing.assert_array_equal(train.labels, (0, 0, 999))
    # In the order of their names as strings: 12 comes before 7.
    red = np.asarray(train.images)[:, 8, 8, 0].astype(int)
    np.testing.assert_allclose(red, (12, 7, 200), atol=3)
    test = data.load('imagenet', split='test', **kwargs)
    # Classes n01751748, n09193705 and n02105855.
    np.testing.assert_array_equal(test.labels, (65, 970, 230))
    red = np.asarray(test.images)[:, 8, 8, 0].astype(int)
    np.testing.assert_allclose(red, (1, 2, 3), atol=2)
    self.assertTrue((self.folder / 'imagenet2012' / '5.1.0').is_dir())

  def test_imagenet_that_is_not_there_or_another(self):
    kwargs = {'split': 'train', 'data_dir': str(self.folder), 'image_size': 8}
    with self.assertRaises(FileNotFoundError) as context:
      data.load('imagenet', download=True, **kwargs)
    self.assertIn('ILSVRC2012_img_train.tar', str(context.exception))
    self.assertNotIn('data.download', str(context.exception))
    makers.imagenet(self.folder / 'foreign', foreign=True)
    with self.assertRaisesRegex(ValueError, 'n1.tar is the archive of no cl'):
      data.load('imagenet', source=str(self.folder / 'foreign'), **kwargs)

  def test_another_format(self):
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    kwargs = {'split': 'test', 'data_dir': str(self.folder)}
    data.load('tinyimagenet', **kwargs)
    (info,) = self.folder.rglob('dataset_info.json')
    info.write_text(info.read_text().replace('array_record', 'tfrecord'))
    for stream in (False, True):
      with self.assertRaisesRegex(ValueError, 'in the format tfrecord, which'):
        data.load('tinyimagenet', stream=stream, **kwargs)

  def test_a_record_that_is_damaged(self):
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    kwargs = {'split': 'train', 'data_dir': str(self.folder), 'stream': True}
    images = data.load('tinyimagenet', **kwargs).images
    for path in self.folder.rglob('*train*array_record*'):
      path.write_bytes(path.read_bytes()[:200])
    with self.assertRaisesRegex(ValueError, 'tiny_imagenet.* is damaged'):
      np.asarray(images)

  def test_default_folder(self):
    with mock.patch.dict(os.environ, {'TFDS_DATA_DIR': '/x'}):
      self.assertEqual(prepared.default_dir(), '/x')


@unittest.skipUnless(REAL, 'PEERAID_TEST_DATA names no folder of real data')
class RealPreparedTest(absltest.TestCase):
  def test_cifar10_begins_as_everybodys(self):
    folder = os.path.join(REAL, 'tfds')
    test = data.load('cifar10', split='test', data_dir=folder)
    self.assertEqual(test.images.shape, (10_000, 32, 32, 3))
    # Cat, ship, ship, airplane, frog, frog, car, frog, cat, car.
    np.testing.assert_array_equal(
      test.labels[:10], (3, 8, 8, 0, 6, 6, 1, 6, 3, 1)
    )
    np.testing.assert_array_equal(np.bincount(test.labels), [1000] * 10)

  @pytest.mark.slow
  def test_tinyimagenet_as_in_memory(self):
    """The first batches of an epoch, read from the original archive."""
    load = functools.partial(
      data.load,
      'tinyimagenet',
      split='train',
      data_dir=str(helpers.folder(self)),
      source=f'{REAL}/tiny-imagenet-200-part.zip',
    )
    resident, streamed = load(), load(stream=True)
    self.assertEqual(streamed.images.shape, resident.images.shape)
    np.testing.assert_array_equal(streamed.labels, resident.labels)
    order = batches.epoch_order(0, 0, len(resident.labels), 128)[:20]
    read = streamed.images.batches(order)
    for rows, images in zip(order, read, strict=True):
      np.testing.assert_array_equal(images, resident.images[rows])


if __name__ == '__main__':
  absltest.main()
