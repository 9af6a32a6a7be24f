"""Images on disk: crops, batches, and runs that equal those in memory."""

import collections
import pathlib
from unittest import mock

import chex
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import config as config_lib
from peeraid_jax import data, files
from peeraid_jax.data import batches, crops, fingerprint, folder, stored
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build, checkpoint, feed, loop
from tests import helpers
from tests.data import makers

COUNTS = {'bird': 12, 'cat': 9, 'dog': 14}


class _Listed:
  """Encoded images in a list: a `stored.Source`."""

  def __init__(self, contents):
    self.contents = contents

  has_orientation = False

  def read(self, row):
    return self.contents[row], f'image {row}'

  def names(self, rows):
    return [f'image {row}' for row in rows]


class CropTest(parameterized.TestCase):
  def test_centre(self):
    """A ramp from left to right keeps its middle; its slope is scaled."""
    ramp = np.arange(200, dtype=np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (100, 200, 3))
    cut = crops.centre(Image.fromarray(image), 28, fraction=0.875)
    self.assertEqual(cut.shape, (28, 28, 3))
    # 100 pixels become 32, and the 28 in the middle of these stay.
    expected = 99.5 + (np.arange(28) - 13.5) * 100 / 32
    np.testing.assert_allclose(cut[14, :, 0], expected, atol=0.6)
    upright = crops.centre(
      Image.fromarray(image.swapaxes(0, 1)), 28, fraction=0.875
    )
    np.testing.assert_array_equal(upright, cut.swapaxes(0, 1))

  def test_an_image_of_that_size_is_unchanged(self):
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    cut = crops.centre(Image.fromarray(image), 16, fraction=0.875)
    np.testing.assert_array_equal(cut, image)

  def test_random(self):
    """Measures area and aspect of crops with two ramps as channels."""
    rows, columns = np.mgrid[:120, :160]
    image = Image.fromarray(
      np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    )
    parts = []
    for seed in range(300):
      rng = np.random.default_rng(seed)
      cut = crops.random(image, 40, rng, area=(0.25, 0.5)).astype(float)
      # The slope of a ramp is the number of pixels that became one pixel.
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
    cut = crops.random(image, 8, rng, area=(0.9, 1.0)).astype(float)
    # No crop of that area has an aspect below 4/3, so the middle is taken.
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
      batches = list(self.images.batches(rows, start=start))
      self.assertLen(batches, 7 - start)
      for batch, row in zip(batches, rows[start:], strict=True):
        np.testing.assert_array_equal(batch, self.arrays[row])

  def test_crops_depend_on_seed_step_and_place_alone(self):
    rows = np.array([[3, 3, 5, 5], [3, 3, 5, 5]])
    crop = stored.Crop((0.2, 0.9), (0, 1))
    whole = list(self.images.batches(rows, crop=crop))
    again = list(self.images.batches(rows, crop=crop, start=1))
    np.testing.assert_array_equal(again[0], whole[1])
    # Another process reads only columns 1 and 3.
    places = np.array([1, 3])
    part = list(self.images.batches(rows[:, places], crop=crop, places=places))
    np.testing.assert_array_equal(part, np.stack(whole)[:, places])
    # Another place, another step and another seed: three other crops.
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


class TrainingTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.photos = self.folder / 'photos'
    makers.photographs(self.photos, COUNTS)

  def config(self, **overrides):
    config = helpers.config(
      data__name='folder',
      data__dir=str(self.photos),
      data__image_size=8,
      train__checkpoint_every_steps=1,
      **overrides,
    )
    config_lib.complete(config)
    return config

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
    files.write_json(workdir / 'config.json', config_lib.to_json(config))
    select = lambda state, tick: {'select/student/pgd2': 0.5}
    images = self.load(config)
    plan = build.plan(config, examples=len(images.labels))
    loop.train(plan, workdir, images, select)
    return jax.device_get(checkpoint.restore(workdir))

  @pytest.mark.slow
  def test_a_run_is_that_of_resident_images(self):
    """Bit for bit: order, crops, networks and averaged weights."""
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
    uninterrupted = self.train('whole', config)
    # Damage a file that only the second step of the second epoch reads.
    order = batches.epoch_order(0, 1, 28, 16)
    row = next(r for r in order[1] if r not in order[0])
    source, rows, _ = folder.find('train', self.photos)
    path = pathlib.Path(source.read(int(rows[row]))[1])
    content = path.read_bytes()
    path.write_bytes(content[:300])
    # The sample of the fingerprint would find it at the start.
    self.enter_context(mock.patch.object(fingerprint, '_SAMPLE', 0))
    workdir = self.folder / 'stopped'
    with self.assertRaisesRegex(ValueError, f'{path} does not decode'):
      self.train('stopped', config)
    self.assertLess(checkpoint.latest_step(workdir), 4)
    path.write_bytes(content)
    resumed = self.train('stopped', config)
    chex.assert_trees_all_equal(resumed, uninterrupted)

    with self.subTest('other images'):
      path.unlink()
      with self.assertRaisesRegex(ValueError, 'examples 28 then, 27 now'):
        self.train('stopped', config)

  def test_each_process_reads_its_part(self):
    config = self.config(
      data__stream=True, data__crop='resized', data__padding=0
    )
    loaded = self.load(config)

    def read_part(index, count):
      with (
        mock.patch.object(jax, 'process_index', lambda: index),
        mock.patch.object(jax, 'process_count', lambda: count),
        mock.patch.object(
          jax, 'local_devices', lambda: jax.devices()[: 2 // count]
        ),
      ):
        return list(feed.feed(config, loaded, 1, feed.TRAINING, 1))

    (whole,), (first,), (second,) = (
      read_part(*process) for process in ((0, 1), (0, 2), (1, 2))
    )
    self.assertEqual(whole.images.shape, (2, 8, 8, 8, 3))
    for all_rows, a, b in zip(whole, first, second, strict=True):
      np.testing.assert_array_equal(all_rows, np.concatenate([a, b]))
    self.assertEqual(first.images.shape, (1, 8, 8, 8, 3))
    np.testing.assert_array_equal(whole.position, parallel.split(np.arange(16)))
    counts = collections.Counter(whole.labels.ravel().tolist())
    self.assertEqual(set(counts), {0, 1, 2})


if __name__ == '__main__':
  absltest.main()
