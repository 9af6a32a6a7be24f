"""Crops of images of any size: the middle, or a random part."""

import math

import numpy as np
from PIL import Image

_BILINEAR = Image.Resampling.BILINEAR
# Inception's random crops: range of width / height, and the number of draws
# before the middle of the image is taken instead.
_ASPECTS = (3 / 4, 4 / 3)
_DRAWS = 10


def centre(image: Image.Image, size: int, *, fraction: float) -> np.ndarray:
  """Scales the shorter side and crops the middle.

  Args:
    image: image of any size; one of `size` x `size` is returned unchanged.
    size: height and width of the result.
    fraction: share of the scaled shorter side that the crop keeps; 0.875 is
      224 of 256 pixels.

  Returns:
    uint8 [size, size, 3].
  """
  if image.size != (size, size):
    scale = round(size / fraction) / min(image.size)
    scaled = [max(round(side * scale), size) for side in image.size]
    left, top = ((side - size) // 2 for side in scaled)
    image = image.resize(scaled, _BILINEAR)
    image = image.crop((left, top, left + size, top + size))
  return np.asarray(image)


def random(
  image: Image.Image,
  size: int,
  rng: np.random.Generator,
  *,
  area: tuple[float, float],
) -> np.ndarray:
  """Crops a part of random area and aspect, and resizes it.

  Args:
    image: image of any size.
    size: height and width of the result.
    rng: generator of the draws.
    area: smallest and largest share of the image's area that a crop covers.

  Returns:
    uint8 [size, size, 3].
  """
  width, height = image.size
  for _ in range(_DRAWS):
    pixels = rng.uniform(*area) * width * height
    aspect = math.exp(rng.uniform(*map(math.log, _ASPECTS)))
    w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
    if 0 < w <= width and 0 < h <= height:
      left = int(rng.integers(0, width - w + 1))
      top = int(rng.integers(0, height - h + 1))
      break
  else:
    # The image is very long: take as much of its middle as an aspect allows.
    w = min(width, round(height * _ASPECTS[1]))
    h = min(height, round(width / _ASPECTS[0]))
    left, top = (width - w) // 2, (height - h) // 2
  box = (left, top, left + w, top + h)
  return np.asarray(image.resize((size, size), _BILINEAR, box=box))
