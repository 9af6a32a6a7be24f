"""What the pixels of an image are, whatever kind of image it is.

Images of 8 bits are taken as they are, grey ones in three equal channels.
Grey images of 16 bits are scaled: 65535 becomes 255. Of colour images of 16
bits, Pillow reads the upper 8. Transparent images are
laid on white. Images whose range of values is not known (floating point, 32
bits) and images of several frames are refused.
"""

import numpy as np
from PIL import ExifTags, Image

# Pillow's modes of 8 bits or fewer per channel, all without transparency.
_OPAQUE = ('1', 'L', 'P', 'RGB', 'CMYK', 'YCbCr')
_TRANSPARENT = ('LA', 'PA', 'RGBA')
# Formats whose mode 'I' holds 16 bits in older versions of Pillow.
_SIXTEEN_BITS_IN_I = ('PNG', 'PPM')
_BITS_PER_SAMPLE = 258  # The tag of TIFF.

# EXIF orientation -> what turns the image upright.
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


class Refused(ValueError):
  """An image that decodes, but whose pixels would not be what they show."""


def to_rgb(image: Image.Image, *, orient: bool) -> Image.Image:
  """Converts an image to RGB.

  Args:
    image: an image that Pillow has opened.
    orient: turn it as its EXIF data say; ignored where these are damaged.

  Returns:
    The image with 8 bits per channel. Values v of 16 bits become v / 257,
    rounded. Transparent pixels are blended with white.

  Raises:
    Refused: the image has several frames, or numbers of unknown range; the
      message follows the name of the image in a sentence.
    OSError, SyntaxError, ValueError, ...: the image is damaged; Pillow's
      decoders raise many classes.
  """
  # JPEGs of phones hold previews as further frames (format MPO).
  frames = getattr(image, 'n_frames', 1)
  if frames > 1 and image.format != 'MPO':
    raise Refused(
      f'has {frames} frames; one image is expected: save the frame that you '
      'mean as PNG'
    )
  # The orientation has to be read before a conversion drops it.
  turn = _UPRIGHT.get(_orientation(image)) if orient else None
  rgb = _convert(image)
  return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
  """Returns the EXIF orientation; 1, which is upright, if none is readable."""
  # Pillow turns TIFF images while they load; they have no orientation then.
  image.load()
  try:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))
  except Exception:  # Pillow raises many classes for damaged EXIF data.
    return 1


def _convert(image: Image.Image) -> Image.Image:
  """Converts an image to RGB, without turning it."""
  if image.mode.startswith('I'):
    return _from_sixteen_bits(image)
  if image.mode in _TRANSPARENT or 'transparency' in image.info:
    return _on_white(image)
  if image.mode not in _OPAQUE:
    raise Refused(_unknown_range(image))
  return image.convert('RGB')


def _unknown_range(image: Image.Image) -> str:
  return (
    f'has pixels of a kind that is not read ({image.format} of mode '
    f'{image.mode}): only whole numbers of 8 bits, or grey of 16 bits, have a '
    'known range; save it as PNG of 8 bits per channel'
  )


def _on_white(image: Image.Image) -> Image.Image:
  """Blends an image with white; opaque pixels keep their values exactly."""
  image = image.convert('RGBA')
  white = Image.new('RGBA', image.size, (255, 255, 255, 255))
  return Image.alpha_composite(white, image).convert('RGB')


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
  """Scales a grey image of 16 bits to 8 bits.

  Raises:
    Refused: its numbers have another range.
  """
  sixteen = image.mode != 'I' or image.format in _SIXTEEN_BITS_IN_I
  if image.format == 'TIFF':
    sixteen &= image.tag_v2.get(_BITS_PER_SAMPLE) == (16,)
  values = np.asarray(image).astype(np.int64)
  if not sixteen or values.min() < 0 or values.max() > 65535:
    raise Refused(_unknown_range(image))
  grey = ((values + 128) // 257).astype(np.uint8)
  grey[values == image.info.get('transparency', -1)] = 255
  return Image.fromarray(grey).convert('RGB')
