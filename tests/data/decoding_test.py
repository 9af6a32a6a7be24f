"""Pixels of images of all kinds."""

import io
import warnings

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image, ImageOps

from peeraid_jax.data import stored


def encode(image: Image.Image, kind: str, **kwargs) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **kwargs)
  return buffer.getvalue()


def decode(content: bytes, **kwargs) -> np.ndarray:
  return np.asarray(stored.decode(content, 'a/b.img', **kwargs))


class DecodingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.array = rng.integers(0, 256, (24, 16, 3), np.uint8)
    self.image = Image.fromarray(self.array)

  @parameterized.parameters(
    ('PNG', 'RGB'), ('PNG', 'L'), ('PNG', 'P'), ('PNG', '1'), ('JPEG', 'RGB'),
    ('JPEG', 'L'), ('JPEG', 'CMYK'), ('BMP', 'RGB'), ('BMP', 'P'),
    ('WEBP', 'RGB'), ('PPM', 'RGB'), ('PPM', 'L'), ('TIFF', 'RGB'),
    ('TIFF', 'L'), ('TIFF', 'CMYK'), ('GIF', 'P'),
  )  # fmt: skip
  def test_ordinary_images_are_what_pillow_says(self, kind, mode):
    content = encode(self.image.convert(mode), kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
    for orient in (False, True):
      np.testing.assert_array_equal(decode(content, orient=orient), expected)

  @parameterized.parameters('PNG', 'TIFF', 'PPM')
  def test_sixteen_bits(self, kind):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = decode(encode(Image.fromarray(values), kind))
    for channel in range(3):
      np.testing.assert_array_equal(found[..., channel], np.round(values / 257))

  def test_transparent_pixels_of_sixteen_bits(self):
    values = np.array([[0, 257, 514]], np.uint16)
    content = encode(Image.fromarray(values), 'PNG', transparency=257)
    np.testing.assert_array_equal(decode(content)[0, :, 0], (0, 255, 2))

  def test_transparency(self):
    alpha = np.full((24, 16, 1), 255, np.uint8)
    opaque = np.concatenate([self.array, alpha], axis=-1)
    for kind in ('PNG', 'TIFF'):
      found = decode(encode(Image.fromarray(opaque), kind))
      np.testing.assert_array_equal(found, self.array)
    opaque[0, 0, 3], opaque[0, 1, 3] = 0, 128
    found = decode(encode(Image.fromarray(opaque), 'PNG'))
    np.testing.assert_array_equal(found[0, 0], (255, 255, 255))
    half = self.array[0, 1] * (128 / 255) + 255 * (127 / 255)
    np.testing.assert_allclose(found[0, 1], half, atol=1)
    np.testing.assert_array_equal(found[1:], self.array[1:])
    with self.subTest('one color of a palette'):
      palette = Image.new('P', (2, 1))
      palette.putpalette([10, 20, 30, 40, 50, 60])
      palette.putpixel((1, 0), 1)
      found = decode(encode(palette, 'PNG', transparency=1))
      np.testing.assert_array_equal(found[0], [[10, 20, 30], [255] * 3])

  @parameterized.product(
    kind=('JPEG', 'PNG', 'WEBP', 'TIFF'), turn=tuple(range(1, 9))
  )
  def test_orientation(self, kind, turn):
    exif = Image.Exif()
    exif[274] = turn
    content = encode(self.image, kind, exif=exif)
    opened = Image.open(io.BytesIO(content))
    expected = np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))
    np.testing.assert_array_equal(decode(content, orient=True), expected)
    self.assertEqual(expected.shape[0], 16 if turn > 4 else 24)

  def test_damaged_exif_data(self):
    content = encode(self.image, 'JPEG', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Pillow warns of it.
      turned = decode(content, orient=True)
    plain = decode(encode(self.image, 'JPEG'))
    np.testing.assert_array_equal(turned, plain)

  @parameterized.parameters('GIF', 'PNG', 'WEBP', 'TIFF')
  def test_several_frames(self, kind):
    other = self.image.transpose(Image.Transpose.ROTATE_180)
    content = encode(self.image, kind, save_all=True, append_images=[other])
    with self.assertRaisesRegex(ValueError, '^a/b.img has 2 frames'):
      decode(content)

  def test_preview_of_a_phone(self):
    preview = self.image.resize((4, 4))
    content = encode(self.image, 'MPO', save_all=True, append_images=[preview])
    np.testing.assert_array_equal(
      decode(content), decode(encode(self.image, 'JPEG'))
    )

  @parameterized.parameters((np.float32, 'F'), (np.int32, 'I'))
  def test_unknown_range(self, dtype, mode):
    values = Image.fromarray(np.ones((4, 4), dtype))
    with self.assertRaisesRegex(ValueError, f'a/b.img has .*of mode {mode}'):
      decode(encode(values, 'TIFF'))


if __name__ == '__main__':
  absltest.main()
