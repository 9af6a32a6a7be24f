"""A fingerprint of images and labels, which tells changed data from the same.

A run keeps the fingerprint of its training set with its checkpoints. When it
goes on later, it compares: training is then known to go on with the same
images in the same order.
"""

import zlib

import numpy as np

from peeraid_jax.data import splits, stored

# How many images in memory are added to the checksum at once.
_CHUNK = 4096
# How many images on disk are decoded; a photograph takes about 10 ms.
_SAMPLE = 64


def of(data: splits.Dataset) -> dict[str, int]:
  """Returns a fingerprint of a data set.

  Images in memory are taken whole: 150 MB take a tenth of a second. Images on
  disk are too many for that. Their file names are taken, and the pixels of a
  sample, evenly spread: an image that is replaced under the same name may stay
  unnoticed, and one that was damaged may be replaced by a whole one. A data
  set on disk has another fingerprint than the same one in memory.

  Args:
    data: images uint8 [N, H, W, C], in memory or on disk, and labels int [N].

  Returns:
    'examples': the number of examples; 'labels_crc32' and 'images_crc32':
    checksums of labels and images in their order.

  Raises:
    ValueError: an image of the sample does not decode; names its file.
  """
  labels = np.ascontiguousarray(data.labels)
  return {
    'examples': len(labels),
    'labels_crc32': zlib.crc32(labels.data),
    'images_crc32': _of_images(data.images),
  }


def _of_images(images: np.ndarray | stored.Stored) -> int:
  """Returns the CRC-32 of the shape and of the content of images."""
  crc = zlib.crc32(np.array(images.shape, np.int64).data)
  if isinstance(images, stored.Stored):
    return _of_stored(images, crc)
  for start in range(0, len(images), _CHUNK):
    part = np.ascontiguousarray(images[start : start + _CHUNK])
    crc = zlib.crc32(part.data, crc)
  return crc


def _of_stored(images: stored.Stored, crc: int) -> int:
  """Returns the CRC-32 of names and of a sample of the pixels, after `crc`."""
  for name in images.names():
    crc = zlib.crc32(f'{name}\n'.encode(errors='surrogateescape'), crc)
  count = min(_SAMPLE, len(images))
  for row in np.linspace(0, len(images) - 1, count).round().astype(int):
    crc = zlib.crc32(np.ascontiguousarray(images.decode(row)).data, crc)
  return crc
