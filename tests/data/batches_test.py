"""Batches: functions of (seed, step), augmented with a key per example."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

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
    # One bright pixel per image: its place afterwards shows crop and flip.
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
    # 0.1 is four standard deviations of the mean of 400 coin flips.
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

  def _rotated(self, images, keys, rotation=15.0, **kwargs):
    kwargs = {'padding': 0, 'flip': False, **kwargs}
    return batches.augment(images, keys, rotation=rotation, **kwargs)

  def test_rotation_of_zero_changes_nothing(self):
    images = jax.random.uniform(jax.random.key(1), self.images.shape)
    kwargs = {'padding': 2, 'flip': True}
    np.testing.assert_array_equal(
      self._rotated(images, self.keys, 0.0, **kwargs),
      batches.augment(images, self.keys, **kwargs),
    )

  def test_rotation_leaves_the_keys_of_crop_and_flip_alone(self):
    """The image is cropped and flipped as without rotation, then rotated."""
    images = jax.random.uniform(jax.random.key(1), self.images.shape)
    kwargs = {'padding': 2, 'flip': True}
    rotated = self._rotated(images, self.keys, **kwargs)
    plain = batches.augment(images, self.keys, **kwargs)
    # The middle pixel stays where it is.
    np.testing.assert_array_equal(rotated[:, 4, 4], plain[:, 4, 4])
    angles = jax.vmap(
      lambda key: jax.random.uniform(
        jax.random.fold_in(key, 2), minval=-15.0, maxval=15.0
      )
    )(self.keys)
    np.testing.assert_array_equal(
      rotated, jax.vmap(batches.rotate)(plain, angles)
    )

  def test_angles_are_uniform(self):
    """Measured by where a pixel far to the right of the centre goes."""
    side, radius = 101, 50
    image = jnp.zeros((side, side, 1)).at[radius, -3:].set(1)
    images = jnp.broadcast_to(image, (400, *image.shape))
    rotated = np.asarray(self._rotated(images, self.keys))[..., 0]
    angles = []
    for picture in rotated:
      rows, columns = np.nonzero(picture)
      angles.append(
        np.degrees(np.arctan2(radius - rows, columns - radius)).mean()
      )
    # A pixel at that radius is 1.1 degrees wide.
    self.assertBetween(max(np.abs(angles)), 14, 15.6)
    # Four standard deviations of the mean of 400 angles.
    self.assertAlmostEqual(np.mean(angles), 0, delta=4 * 8.66 / 20)
    self.assertAlmostEqual(np.std(angles), 15 / np.sqrt(3), delta=1)

  def test_rotation_is_keyed_by_position(self):
    images = jax.random.uniform(jax.random.key(1), self.images.shape)
    whole = self._rotated(images, self.keys, 90.0)
    part = self._rotated(images[7:9], self.keys[7:9], 90.0)
    np.testing.assert_array_equal(whole[7:9], part)
    angles = self._rotated(jnp.stack([images[0]] * 9), self.keys[:9], 90.0)
    self.assertLen({np.asarray(image).tobytes() for image in angles}, 9)

  def test_take_scales_to_the_unit_interval(self):
    data = batches.Resident(
      jnp.array([0, 51, 255], jnp.uint8).reshape(3, 1, 1, 1), jnp.arange(3)
    )
    batch = batches.take(data, jnp.array([2, 1]))
    np.testing.assert_allclose(batch.images.ravel(), [1, 0.2])
    np.testing.assert_array_equal(batch.labels, [2, 1])


class RotateTest(parameterized.TestCase):
  @parameterized.parameters((0, 0), (90, 1), (180, 2), (-90, -1), (360, 0))
  def test_quarter_turns(self, degrees, turns):
    image = np.random.default_rng(0).random((7, 7, 3), np.float32)
    np.testing.assert_array_equal(
      batches.rotate(image, degrees), np.rot90(image, turns)
    )

  def test_zeros_from_outside_at_the_same_size(self):
    image = np.arange(1.0, 36).reshape(5, 7, 1)
    turned = np.asarray(batches.rotate(image, 90))
    self.assertEqual(turned.shape, image.shape)
    np.testing.assert_array_equal(turned[:, [0, -1]], 0)
    np.testing.assert_array_equal(turned[:, 1:-1], np.rot90(image[:, 1:-1]))

  @parameterized.parameters(3.7, -11.3, 45)
  def test_as_pillow(self, degrees):
    """All but single pixels, whose coordinates lie on the edge of two."""
    image = np.random.default_rng(0).integers(1, 256, (32, 32), np.uint8)
    expected = Image.fromarray(image).rotate(degrees, Image.Resampling.NEAREST)
    rotated = batches.rotate(image[..., None], degrees)[..., 0]
    self.assertLess(np.mean(np.asarray(expected) != rotated), 0.01)


class PoolTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    # Each image is one pixel, whose value is the image's row.
    self.labels = np.array([2, 0, 1, 2, 0, 2, 2], np.int32)
    images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
    classes = batches.classes_of(self.labels, 3)
    data = batches.Resident(images, self.labels, classes)
    data = jax.tree.map(jnp.asarray, data)
    self.pool = batches.Pool(data, padding=0, flip=False)

  def _rows(self, labels, seed=0):
    """Draws an image of each label, and returns its row."""
    keys = batches.keys_of(jax.random.key(seed), jnp.arange(len(labels)))
    images = self.pool.draw(jnp.asarray(labels), keys)
    return np.round(np.asarray(images).ravel() * 255).astype(int)

  def test_every_image_of_the_class_and_no_other(self):
    labels = np.tile([0, 1, 2], 200)
    rows = self._rows(labels)
    np.testing.assert_array_equal(self.labels[rows], labels)
    self.assertEqual(set(rows), set(range(7)))
    # 200 draws of four images: 50 each, up to five standard deviations.
    counts = np.bincount(rows[labels == 2], minlength=7)[[0, 3, 5, 6]]
    self.assertLess(np.abs(counts - 50).max(), 5 * np.sqrt(200 * 3 / 16))

  def test_draws_depend_on_the_key(self):
    labels = np.full(50, 2)
    self.assertFalse(
      np.array_equal(self._rows(labels), self._rows(labels, seed=1))
    )

  def test_freshly_augmented(self):
    keys = batches.keys_of(jax.random.key(0), jnp.arange(100))
    pool = self.pool.replace(padding=1)
    images = pool.draw(jnp.full(100, 1), keys)
    # Only row 2 has class 1. Its one pixel survives an unshifted crop alone.
    kept = np.asarray(images).ravel() > 0
    self.assertBetween(kept.mean(), 0.01, 0.3)

  def test_rotated(self):
    """By half a turn at most: an image [1, 3] keeps its middle alone."""
    images = np.full((7, 1, 3, 1), 255, np.uint8)
    pool = self.pool.replace(data=self.pool.data._replace(images=images))
    self.assertEqual(pool.rotation, 0)
    keys = batches.keys_of(jax.random.key(0), jnp.arange(100))
    self.assertEqual(pool.draw(jnp.full(100, 2), keys).min(), 1)
    rotated = pool.replace(rotation=180.0).draw(jnp.full(100, 2), keys)
    self.assertEqual(rotated[:, 0, 1].min(), 1)
    # The ends leave the image if they are turned by 30 to 150 degrees.
    self.assertBetween(float((rotated[:, 0, 0] == 0).mean()), 0.4, 0.95)

  def test_class_without_images(self):
    with self.assertRaisesRegex(ValueError, 'none of class 3, 4; use more'):
      batches.classes_of(self.labels, 5)


if __name__ == '__main__':
  absltest.main()
