"""Batches: a function of (seed, step), augmented per example."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax.data import batches


class OrderTest(absltest.TestCase):
  def test_every_example_once_and_the_last_batch_filled_up(self):
    order = batches.epoch_order(0, 3, 50, 16)
    self.assertEqual(order.shape, (4, 16))
    flat = order.ravel()
    np.testing.assert_array_equal(np.sort(flat[:50]), np.arange(50))
    np.testing.assert_array_equal(flat[50:], flat[:14])

  def test_depends_on_seed_epoch_and_stream_alone(self):
    args = (0, 3, 50, 16)
    one = batches.epoch_order(*args)
    np.testing.assert_array_equal(one, batches.epoch_order(*args))
    for other in (
      batches.epoch_order(1, 3, 50, 16),
      batches.epoch_order(0, 4, 50, 16),
      batches.epoch_order(0, 3, 50, 16, stream=1),
    ):
      self.assertFalse(np.array_equal(one, other))


class AugmentTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    # One bright pixel per image: where it goes tells crop and flip.
    self.images = jnp.zeros((400, 9, 9, 1)).at[:, 4, 3].set(1)
    self.keys = batches.keys_of(jax.random.key(0), jnp.arange(400))

  def _places(self, **kwargs):
    out = batches.augment(self.images, self.keys, **kwargs)
    self.assertEqual(out.shape, self.images.shape)
    return np.argwhere(np.asarray(out[..., 0]) == 1)[:, 1:]

  def test_crop_reaches_every_shift(self):
    places = self._places(padding=2, flip=False)
    self.assertLen(places, 400)
    self.assertEqual(
      {tuple(p) for p in places},
      {(4 + i, 3 + j) for i in range(-2, 3) for j in range(-2, 3)},
    )

  def test_flip_mirrors_half(self):
    places = self._places(padding=0, flip=True)
    mirrored = np.mean(places[:, 1] == 5)
    self.assertEqual({tuple(p) for p in places}, {(4, 3), (4, 5)})
    # Four standard deviations of 400 coins.
    self.assertAlmostEqual(mirrored, 0.5, delta=0.1)

  def test_padding_is_zero(self):
    ones = jnp.ones_like(self.images)
    out = batches.augment(ones, self.keys, padding=4, flip=False)
    self.assertEqual(float(out.min()), 0)

  def test_noise_is_keyed_by_position(self):
    kwargs = {'padding': 2, 'flip': True}
    whole = batches.augment(self.images, self.keys, **kwargs)
    part = batches.augment(self.images[7:9], self.keys[7:9], **kwargs)
    np.testing.assert_array_equal(whole[7:9], part)

  def test_take_scales_to_the_unit_interval(self):
    data = batches.Resident(
      jnp.array([0, 51, 255], jnp.uint8).reshape(3, 1, 1, 1), jnp.arange(3)
    )
    batch = batches.take(data, jnp.array([2, 1]))
    np.testing.assert_allclose(batch.images.ravel(), [1, 0.2])
    np.testing.assert_array_equal(batch.labels, [2, 1])


class PoolTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    # An image's only value is its row.
    self.labels = np.array([2, 0, 1, 2, 0, 2, 2], np.int32)
    images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
    classes = batches.classes_of(self.labels, 3)
    data = batches.Resident(images, self.labels, classes)
    data = jax.tree.map(jnp.asarray, data)
    self.pool = batches.Pool(data, padding=0, flip=False)

  def _rows(self, wanted, seed=0):
    keys = batches.keys_of(jax.random.key(seed), jnp.arange(len(wanted)))
    images = self.pool.draw(jnp.asarray(wanted), keys)
    return np.round(np.asarray(images).ravel() * 255).astype(int)

  def test_every_image_of_the_class_and_no_other(self):
    wanted = np.tile([0, 1, 2], 200)
    rows = self._rows(wanted)
    np.testing.assert_array_equal(self.labels[rows], wanted)
    self.assertEqual(set(rows), set(range(7)))
    # 200 draws of four images: five standard deviations around 50.
    counts = np.bincount(rows[wanted == 2], minlength=7)[[0, 3, 5, 6]]
    self.assertLess(np.abs(counts - 50).max(), 5 * np.sqrt(200 * 3 / 16))

  def test_draws_depend_on_the_key(self):
    wanted = np.full(50, 2)
    self.assertFalse(
      np.array_equal(self._rows(wanted), self._rows(wanted, seed=1))
    )

  def test_freshly_augmented(self):
    keys = batches.keys_of(jax.random.key(0), jnp.arange(100))
    pool = self.pool.replace(padding=1)
    images = pool.draw(jnp.full(100, 1), keys)
    # Row 2 is the only one of class 1; a shift loses the only pixel.
    kept = np.asarray(images).ravel() > 0
    self.assertBetween(kept.mean(), 0.01, 0.3)

  def test_class_without_images(self):
    with self.assertRaisesRegex(ValueError, 'none of class 3, 4; use more'):
      batches.classes_of(self.labels, 5)


if __name__ == '__main__':
  absltest.main()
