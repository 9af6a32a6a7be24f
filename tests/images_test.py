"""Checks of images, labels and logits; predictions that are none."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import images as images_lib

IMAGES = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 2, 2, 3)
LABELS = np.array([0, 3])


class CheckTest(parameterized.TestCase):
  @parameterized.parameters('float16', 'bfloat16', 'float32', 'float64')
  def test_all_floats_are_right(self, dtype):
    images_lib.check(IMAGES.astype(jnp.dtype(dtype)), LABELS, classes=4)

  @parameterized.parameters('uint8', 'int8', 'int32', 'int64')
  def test_all_integers_are_right_as_labels(self, dtype):
    labels = LABELS.astype(dtype)
    images_lib.check(jnp.asarray(IMAGES), labels, classes=4)
    images_lib.check(jnp.asarray(IMAGES), jnp.asarray(labels), classes=4)

  def test_rounding_to_float32_is_no_error(self):
    images_lib.check(IMAGES.astype(np.float64) * (1 + 1e-12))
    with self.assertRaisesRegex(ValueError, r'in \[0, 1\]'):
      images_lib.check(IMAGES.astype(np.float64) * 1e300)

  def test_unknown_parts_of_the_shape(self):
    for shape in (None, (None, None, 3), (2, None, 3), (2, 2, 3)):
      images_lib.check_shape(IMAGES, shape)
    for shape in ((None, None, 1), (3, None, None)):
      with self.assertRaisesRegex(ValueError, r'\(2, 2, 3\).*any'):
        images_lib.check_shape(IMAGES, shape)

  def test_no_images(self):
    images_lib.check(IMAGES[:0], may_be_empty=True)
    with self.assertRaisesRegex(ValueError, 'N at least 1'):
      images_lib.check(IMAGES[:0])

  def test_nothing_is_added_to_a_traced_program(self):
    def program(images, labels):
      images_lib.check(images, labels, shape=(2, 2, 3), classes=2)
      images_lib.check_attacked(images)
      return images

    traced = jax.make_jaxpr(program)(9 * IMAGES, LABELS)
    self.assertEmpty(traced.eqns)
    with self.assertRaisesRegex(ValueError, 'uint8'):
      jax.make_jaxpr(program)(IMAGES.astype(np.uint8), LABELS)

  def test_all_pixels_survive_the_conversion(self):
    pixels = np.arange(256, dtype=np.uint8)
    floats = images_lib.as_floats(pixels)
    self.assertEqual(floats.dtype, np.float32)
    np.testing.assert_array_equal(floats, pixels.astype(np.float32) / 255)
    self.assertIs(images_lib.as_floats(floats), floats)


class PredictedTest(parameterized.TestCase):
  @parameterized.parameters(
    ([0, 2, 1], 1),
    ([2, 2, 1], 0),
    ([-np.inf, 0, 1], 2),
    ([np.nan, 0, 1], -1),
    ([0, 1, np.nan], -1),
    ([0, np.inf, 1], -1),
    ([-np.inf, -np.inf, -np.inf], -1),
  )
  def test_predicted(self, logits, expected):
    logits = np.array([logits, [0, 0, 1]], np.float32)
    for library in (np, jnp):
      found = images_lib.predicted(library.asarray(logits))
      np.testing.assert_array_equal(found, [expected, 2])


if __name__ == '__main__':
  absltest.main()
