"""Images on disk: the same ones as in memory, in the same order."""

import collections
import functools
import os
import pathlib
import unittest
from unittest import mock

import chex
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import build, checkpoint, data, parallel, results, train
from peeraid_jax import config as config_lib
from peeraid_jax.data import facts, folder, stored
from tests import helpers, makers

# A folder with a TinyImageNet zip.
REAL = os.environ.get('PEERAID_TEST_DATA', '')
COUNTS = {'bird': 12, 'cat': 9, 'dog': 14}


class _Listed:
  """A source of encoded images in a list."""

  def __init__(self, contents):
    self.contents = contents

  def read(self, row):
    return self.contents[row], f'image {row}'


class CropTest(parameterized.TestCase):
  def test_centre(self):
    """A ramp from left to right keeps its slope and its middle."""
    ramp = np.arange(200, dtype=np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (100, 200, 3))
    cut = stored.centre_crop(Image.fromarray(image), 28, fraction=0.875)
    self.assertEqual(cut.shape, (28, 28, 3))
    # 100 pixels become 32, and the 28 in the middle of these stay.
    expected = 99.5 + (np.arange(28) - 13.5) * 100 / 32
    np.testing.assert_allclose(cut[14, :, 0], expected, atol=0.6)
    upright = stored.centre_crop(
      Image.fromarray(image.swapaxes(0, 1)), 28, fraction=0.875
    )
    np.testing.assert_array_equal(upright, cut.swapaxes(0, 1))

  def test_what_has_the_size_is_left_alone(self):
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    cut = stored.centre_crop(Image.fromarray(image), 16, fraction=0.875)
    np.testing.assert_array_equal(cut, image)

  def test_random(self):
    """Area and aspect of what is cut out, measured on two ramps."""
    rows, columns = np.mgrid[:120, :160]
    image = Image.fromarray(
      np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    )
    parts = []
    for seed in range(300):
      rng = np.random.default_rng(seed)
      cut = stored.random_crop(image, 40, rng, area=(0.25, 0.5)).astype(float)
      # The slope of a ramp says how many pixels became one.
      height = 40 * (cut[30, 20, 0] - cut[10, 20, 0]) / 20
      width = 40 * (cut[20, 30, 1] - cut[20, 10, 1]) / 20
      parts.append((height * width / (120 * 160), width / height))
    area, aspect = np.array(parts).T
    self.assertBetween(area.min(), 0.23, 0.27)
    self.assertBetween(area.max(), 0.48, 0.53)
    self.assertAlmostEqual(area.mean(), 0.375, delta=0.02)
    self.assertBetween(aspect.min(), 0.7, 0.8)
    self.assertBetween(aspect.max(), 1.25, 1.42)
    self.assertAlmostEqual(np.log(aspect).mean(), 0, delta=0.04)

  def test_random_of_a_long_image(self):
    ramp = np.broadcast_to(np.arange(250)[None, :, None], (5, 250, 3))
    image = Image.fromarray(ramp.astype(np.uint8))
    rng = np.random.default_rng(0)
    cut = stored.random_crop(image, 8, rng, area=(0.9, 1.0)).astype(float)
    # No part of that area has an aspect below 4/3: the middle is taken.
    self.assertAlmostEqual(cut[..., 0].mean(), 124.5, delta=1)
    self.assertBetween(np.ptp(cut[..., 0]), 3, 7)


class StoredTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.arrays = rng.integers(0, 256, (10, 12, 12, 3), dtype=np.uint8)
    self.source = _Listed([makers.png(a) for a in self.arrays])
    self.images = stored.Stored(self.source, np.arange(10), 12, threads=3)

  def test_looks_like_an_array(self):
    self.assertEqual(self.images.shape, self.arrays.shape)
    self.assertLen(self.images, 10)
    np.testing.assert_array_equal(np.asarray(self.images), self.arrays)
    part = self.images[np.array([7, 2, 2])][1:]
    np.testing.assert_array_equal(part, self.arrays[[2, 2]])
    none = np.asarray(self.images[:0])
    self.assertEqual((none.shape, none.dtype), ((0, 12, 12, 3), np.uint8))

  def test_batches_from_any_step_on(self):
    rows = np.random.default_rng(1).integers(0, 10, (7, 4))
    for start in (0, 5, 7):
      found = list(self.images.batches(rows, start=start))
      self.assertLen(found, 7 - start)
      for batch, wanted in zip(found, rows[start:], strict=True):
        np.testing.assert_array_equal(batch, self.arrays[wanted])

  def test_crops_depend_on_seed_step_and_place_alone(self):
    rows = np.array([[3, 3, 5, 5], [3, 3, 5, 5]])
    crop = stored.Crop((0.2, 0.9), (0, 1))
    whole = list(self.images.batches(rows, crop=crop))
    again = list(self.images.batches(rows, crop=crop, start=1))
    np.testing.assert_array_equal(again[0], whole[1])
    # The part of another process.
    places = np.array([1, 3])
    part = list(self.images.batches(rows[:, places], crop=crop, places=places))
    np.testing.assert_array_equal(part, np.stack(whole)[:, places])
    # Two places, two steps and two seeds are three other crops.
    other = next(self.images.batches(rows, crop=crop._replace(seed=(0, 2))))
    crops = [whole[0][0], whole[0][1], whole[1][0], other[0]]
    self.assertLen({c.tobytes() for c in crops}, 4)

  def test_an_image_that_does_not_decode_is_named(self):
    self.source.contents[6] = self.source.contents[6][:50]
    rows = np.array([[0, 1], [2, 6], [3, 4]])
    read = self.images.batches(rows)
    np.testing.assert_array_equal(next(read), self.arrays[:2])
    with self.assertRaisesRegex(ValueError, 'image 6 does not decode'):
      next(read)


class FolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def load(self, split='train', **kwargs):
    return data.load(
      'folder', split=split, data_dir=str(self.folder), image_size=8, **kwargs
    )

  def test_train_and_test(self):
    makers.photographs(self.folder / 'train', COUNTS)
    makers.photographs(self.folder / 'val', {'bird': 2, 'dog': 3})
    inner = self.folder / 'train' / 'cat' / 'more'
    inner.mkdir()
    (self.folder / 'train/cat/008.jpg').rename(inner / 'a.JPG')
    (self.folder / 'train/cat/notes.txt').write_text('none')
    (self.folder / 'train/.hidden').mkdir()
    train, test = self.load('train'), self.load('test')
    self.assertEqual(train.images.shape, (35, 8, 8, 3))
    np.testing.assert_array_equal(
      np.bincount(train.labels), tuple(COUNTS.values())
    )
    np.testing.assert_array_equal(test.labels, (0, 0, 2, 2, 2))
    streamed = self.load('train', stream=True)
    self.assertIsInstance(streamed.images, data.Stored)
    np.testing.assert_array_equal(streamed.images, train.images)
    # The first bird, read by hand.
    first = Image.open(self.folder / 'train' / 'bird' / '000.jpg')
    np.testing.assert_array_equal(
      train.images[0], stored.centre_crop(first, 8, fraction=0.875)
    )

  def test_a_fifth_is_the_test_set(self):
    makers.photographs(self.folder, COUNTS)
    train, test = (self.load(s, stream=True) for s in ('train', 'test'))
    self.assertEqual((len(train.labels), len(test.labels)), (28, 7))
    self.assertTrue((np.bincount(test.labels) >= 2).all())
    whole = np.concatenate([train.images, test.images])
    self.assertLen(np.unique(whole, axis=0), 35)
    np.testing.assert_array_equal(self.load('test').images, test.images)

  def test_mistakes(self):
    def message(raises, expected, split='train'):
      with self.assertRaisesRegex(raises, expected):
        self.load(split)

    message(ValueError, 'has 0 sub-folders')
    makers.photographs(self.folder / 'train', {'cat': 2, 'dog': 1})
    (self.folder / 'train' / 'fish').mkdir()
    message(ValueError, 'fish has no image; known endings: .jpg')
    (self.folder / 'train' / 'fish').rmdir()
    (self.folder / 'test').mkdir()
    message(ValueError, 'test has no images', 'test')
    (self.folder / 'test' / 'cow').mkdir()
    message(ValueError, "no training images of class 'cow'", 'test')
    with self.assertRaisesRegex(FileNotFoundError, 'one sub-folder per class'):
      folder.classes(self.folder / 'none')
    with self.assertRaisesRegex(FileNotFoundError, "data.dir='' should be"):
      folder.classes('')
    with self.assertRaisesRegex(ValueError, 'image_size=0 should be'):
      data.load('folder', split='train', data_dir=str(self.folder))
    bad = self.folder / 'train' / 'cat' / '001.jpg'
    bad.write_bytes(b'no image')
    message(ValueError, f'{bad} does not decode .UnidentifiedImageError')

  def test_the_number_of_classes_is_counted(self):
    makers.photographs(self.folder, COUNTS)
    config = helpers.config(data__name='folder', data__dir=str(self.folder))
    config.data.image_size = 8
    build.complete(config)
    self.assertEqual(facts.of(config.data).num_classes, 3)
    self.assertEqual(facts.of(config.data).shape, (8, 8, 3))
    config.data.num_classes = 4
    with self.assertRaisesRegex(ValueError, 'num_classes=4 should be 3'):
      build.complete(config)


class PreparedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def test_tinyimagenet_as_in_memory(self):
    makers.zip_of(self.folder / 'tiny-imagenet-200.zip', makers.tiny_members())
    for split in ('train', 'test'):
      with self.subTest(split):
        kwargs = {'split': split, 'data_dir': str(self.folder)}
        resident = data.load('tinyimagenet', **kwargs)
        # Twice: the second time labels come from the index beside it.
        for _ in range(2):
          streamed = data.load('tinyimagenet', stream=True, **kwargs)
          np.testing.assert_array_equal(streamed.labels, resident.labels)
          np.testing.assert_array_equal(streamed.images, resident.images)
    (index,) = self.folder.rglob('peeraid_index_train.npz')
    index.write_bytes(b'damaged')
    again = data.load(
      'tinyimagenet', split='train', data_dir=str(self.folder), stream=True
    )
    self.assertLen(again.labels, 9)
    with np.load(index) as found:
      self.assertLen(found['labels'], 9)

  def test_imagenet(self):
    makers.imagenet(self.folder / 'downloads' / 'manual')
    kwargs = {
      'data_dir': str(self.folder),
      'stream': True,
      'image_size': 16,
    }
    train = data.load('imagenet', split='train', **kwargs)
    np.testing.assert_array_equal(train.labels, (0, 0, 999))
    # By name, as strings: 12 is before 7.
    red = np.asarray(train.images)[:, 8, 8, 0].astype(int)
    np.testing.assert_allclose(red, (12, 7, 200), atol=3)
    test = data.load('imagenet', split='test', **kwargs)
    # n01751748, n09193705 and n02105855.
    np.testing.assert_array_equal(test.labels, (65, 970, 230))
    red = np.asarray(test.images)[:, 8, 8, 0].astype(int)
    np.testing.assert_allclose(red, (1, 2, 3), atol=2)
    self.assertTrue((self.folder / 'imagenet2012' / '5.1.0').is_dir())

  def test_imagenet_that_is_not_there_or_another(self):
    kwargs = {'split': 'train', 'data_dir': str(self.folder), 'image_size': 8}
    with self.assertRaises(FileNotFoundError) as caught:
      data.load('imagenet', download=True, **kwargs)
    self.assertIn('ILSVRC2012_img_train.tar', str(caught.exception))
    self.assertNotIn('data.download', str(caught.exception))
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


@unittest.skipUnless(REAL, 'PEERAID_TEST_DATA names no folder of real data')
@pytest.mark.slow
class RealTest(absltest.TestCase):
  def test_tinyimagenet_as_in_memory(self):
    """The batches of an epoch's beginning, of the original archive."""
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
    order = train.batches.epoch_order(0, 0, len(resident.labels), 128)[:20]
    read = streamed.images.batches(order)
    for rows, images in zip(order, read, strict=True):
      np.testing.assert_array_equal(images, resident.images[rows])


class TrainingTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.photos = self.folder / 'photos'
    makers.photographs(self.photos, COUNTS)

  def config(self, **overrides):
    made = helpers.config(
      data__name='folder',
      data__dir=str(self.photos),
      data__image_size=8,
      train__checkpoint_every_steps=1,
      **overrides,
    )
    build.complete(made)
    return made

  def load(self, config):
    return data.load(
      'folder',
      split='train',
      data_dir=config.data.dir,
      image_size=8,
      stream=config.data.stream,
    )

  def train(self, name, config):
    workdir = self.folder / name
    workdir.mkdir(exist_ok=True)
    results.write(workdir / 'config.json', config_lib.to_json(config))
    select = lambda state, tick: {'select/student/pgd2': 0.5}
    train.train(config, workdir, self.load(config), select)
    return jax.device_get(checkpoint.restore(workdir))

  @pytest.mark.slow
  def test_a_run_is_that_of_resident_images(self):
    """To the bit: crops, order, weight averaging and all."""
    runs = [
      self.train(f'stream_{on}', self.config(data__stream=on))
      for on in (False, True)
    ]
    chex.assert_trees_all_equal(*runs)

  @pytest.mark.slow
  def test_goes_on_in_the_middle_of_an_epoch(self):
    config = self.config(
      data__stream=True,
      data__crop='resized',
      data__crop_area=(0.3, 1.0),
      data__padding=0,
    )
    whole = self.train('whole', config)
    # A file is damaged that the second step of the second epoch reads.
    order = train.batches.epoch_order(0, 1, 28, 16)
    row = next(r for r in order[1] if r not in order[0])
    path = pathlib.Path(
      folder.find('train', self.photos)[0].read(
        int(folder.find('train', self.photos)[1][row])
      )[1]
    )
    content = path.read_bytes()
    path.write_bytes(content[:300])
    workdir = self.folder / 'stopped'
    with self.assertRaisesRegex(ValueError, f'{path} does not decode'):
      self.train('stopped', config)
    self.assertLess(checkpoint.latest_step(workdir), 4)
    path.write_bytes(content)
    resumed = self.train('stopped', config)
    chex.assert_trees_all_equal(resumed, whole)

    with self.subTest('other images'):
      path.unlink()
      with self.assertRaisesRegex(ValueError, '28 of them, here are 27'):
        self.train('stopped', config)

  def test_each_process_reads_its_part(self):
    config = self.config(
      data__stream=True, data__crop='resized', data__padding=0
    )
    loaded = self.load(config)

    def feed(index, count):
      with (
        mock.patch.object(jax, 'process_index', lambda: index),
        mock.patch.object(jax, 'process_count', lambda: count),
        mock.patch.object(
          jax, 'local_devices', lambda: jax.devices()[: 2 // count]
        ),
      ):
        trainer = train._Trainer(config, self.folder, loaded, None)
        return list(trainer.feed(1, 0, 1))

    (whole,), (first,), (second,) = feed(0, 1), feed(0, 2), feed(1, 2)
    self.assertEqual(whole.images.shape, (2, 8, 8, 8, 3))
    for all_rows, a, b in zip(whole, first, second, strict=True):
      np.testing.assert_array_equal(all_rows, np.concatenate([a, b]))
    self.assertEqual(first.images.shape, (1, 8, 8, 8, 3))
    np.testing.assert_array_equal(whole.position, parallel.split(np.arange(16)))
    counts = collections.Counter(whole.labels.ravel().tolist())
    self.assertEqual(set(counts), {0, 1, 2})


if __name__ == '__main__':
  absltest.main()
