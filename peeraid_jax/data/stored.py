"""Images that stay on disk and are decoded when their batch is needed.

`Stored` looks like the array of images of a `Dataset`. The content of a batch
is a function of (seed, epoch, step, place in the batch). So a run that
resumes in the middle of an epoch, or with another number of processes, sees
the same images with the same crops.
"""

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from peeraid_jax.data import crops, decoding, splits


class Source(Protocol):
  """Encoded images by row: the files of a folder, or prepared records.

  Not to be confused with `data.Source`, the record of a data set.
  """

  # Whether cameras may have written the orientation into EXIF data.
  has_orientation: bool

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns an encoded image, and its name for error messages."""

  def names(self, rows: np.ndarray) -> Iterable[str]:
    """Returns names that stay when the data set moves; none if it has none."""


class Crop(NamedTuple):
  """Random crops of random area and aspect, resized, as Inception uses them.

  Attributes:
    area: smallest and largest share of an image's area that a crop covers.
    seed: integers; a crop depends on them, on the step and on its place in
      the batch.

  Reference:
    Szegedy et al., Going Deeper with Convolutions, 2015.
  """

  area: tuple[float, float]
  seed: tuple[int, ...]


def decode(content: bytes, name: str, *, orient: bool = False) -> Image.Image:
  """Decodes an image to RGB, as `decoding.to_rgb` does.

  Args:
    content: the encoded image.
    name: name of the image, for the error message.
    orient: turn the image as its EXIF data say.

  Raises:
    ValueError: the content is damaged, is no image, or is one of a kind that
      is refused; names it.
  """
  try:
    return decoding.to_rgb(Image.open(io.BytesIO(content)), orient=orient)
  except decoding.Refused as error:
    raise ValueError(f'{name} {error}') from None
  except Image.DecompressionBombError:
    raise ValueError(
      f'{name} has more pixels than the {2 * Image.MAX_IMAGE_PIXELS:,} that '
      'are decoded; scale it down'
    ) from None
  except Exception as error:  # Pillow's decoders raise many classes.
    raise ValueError(
      f'{name} does not decode ({type(error).__name__}: {str(error)[:200]}); '
      'replace that file, or remove it and start a new run'
    ) from error


def available_cores() -> int:
  """Returns the number of CPU cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1  # macOS


class Stored:
  """Images on disk that look like an array uint8 [N, size, size, 3].

  Indexing with rows returns another `Stored` and reads nothing; `np.asarray`
  decodes all images.

  Args:
    source: the encoded images.
    rows: int [N], rows of `source`.
    size: height and width in pixels.
    fraction: as in `crops.centre`.
    threads: number of threads that decode; 0: one per core.
  """

  dtype = np.dtype(np.uint8)

  def __init__(
    self,
    source: Source,
    rows: np.ndarray,
    size: int,
    *,
    fraction: float = 0.875,
    threads: int = 0,
  ):
    self._source, self._rows = source, np.asarray(rows)
    self._size, self._fraction = size, fraction
    self._threads = threads or available_cores()

  @property
  def shape(self) -> tuple[int, int, int, int]:
    """[N, H, W, C]."""
    return (len(self._rows), self._size, self._size, 3)

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, rows) -> 'Stored':
    return Stored(
      self._source,
      self._rows[rows],
      self._size,
      fraction=self._fraction,
      threads=self._threads,
    )

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    del copy  # Decoding always makes a new array.
    decoded = list(self.batches(np.arange(len(self)).reshape(-1, 1)))
    # NumPy cannot concatenate an empty list.
    images = np.concatenate(decoded or [np.empty(self.shape, np.uint8)])
    return images.astype(dtype or np.uint8, copy=False)

  def names(self) -> Iterable[str]:
    """Returns the names of all images, as `Source.names` does."""
    return self._source.names(self._rows)

  def decode(
    self, row: int, rng: np.random.Generator | None = None, area=None
  ) -> np.ndarray:
    """Decodes an image; crops it at random if there is a generator.

    Args:
      row: its place among these images.
      rng: generator of the crop; None crops the middle.
      area: as in `Crop`.

    Returns:
      uint8 [size, size, 3].

    Raises:
      ValueError: the image is damaged, or of a kind that is refused; names it.
    """
    content, name = self._source.read(int(self._rows[row]))
    image = decode(content, name, orient=self._source.has_orientation)
    if rng is None:
      return crops.centre(image, self._size, fraction=self._fraction)
    return crops.random(image, self._size, rng, area=area)

  def batches(
    self,
    rows: np.ndarray,
    *,
    crop: Crop | None = None,
    start: int = 0,
    places: np.ndarray | None = None,
  ) -> Iterator[np.ndarray]:
    """Yields batches in order; threads (of Grain) read ahead.

    Args:
      rows: int [steps, B], the images of each batch.
      crop: random crops; None crops the middle.
      start: first step.
      places: int [B], places of these images in the global batch, on which
        random crops depend; by default the columns of `rows`.

    Yields:
      uint8 [B, H, W, C].

    Raises:
      ValueError: an image is damaged; names its file.
    """
    # Imported here: it takes 2 s, which runs with images in memory save.
    import grain

    places = np.arange(rows.shape[1]) if places is None else places

    def decode_batch(step: int) -> np.ndarray:
      images = np.empty((rows.shape[1], *self.shape[1:]), np.uint8)
      for column, (row, place) in enumerate(
        zip(rows[step], places, strict=True)
      ):
        rng = None
        if crop is not None:
          rng = np.random.default_rng((*crop.seed, step, int(place)))
        images[column] = self.decode(row, rng, crop and crop.area)
      return images

    dataset = grain.MapDataset.range(start, len(rows)).map(decode_batch)
    threads = min(self._threads, max(len(rows) - start, 1))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    with contextlib.closing(iter(dataset.to_iter_dataset(ahead))) as iterator:
      yield from iterator


def load(
  source: Source,
  rows: np.ndarray,
  labels: np.ndarray,
  *,
  size: int,
  stream: bool,
  fraction: float,
  threads: int,
) -> splits.Dataset:
  """Makes a `Dataset` of encoded images.

  Args:
    source: the encoded images.
    rows: int [N], rows of `source`.
    labels: int32 [N], labels of these rows.
    size: height and width in pixels.
    stream: leave the images on disk; False decodes all of them now.
    fraction: as in `crops.centre`.
    threads: as in `Stored`.

  Raises:
    ValueError: the size is 0, or an image that is decoded now is damaged.
  """
  if size < 1:
    raise ValueError(
      f'image_size={size} should be at least 1: the images of this data set '
      'have any size'
    )
  images = Stored(source, rows, size, fraction=fraction, threads=threads)
  return splits.Dataset(images if stream else np.asarray(images), labels)
