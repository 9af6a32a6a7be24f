"""Images that stay on disk and are decoded when their batch comes.

`Stored` looks like the array of images of a `Dataset`. What a batch holds is
a function of (seed, epoch, step, place in the batch), so that a run that is
resumed in the middle of an epoch, or goes on with another number of
processes, reads the same images with the same crops.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

_BILINEAR = Image.Resampling.BILINEAR
# Inception's crops: width / height, and how often one is drawn.
_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10


class Source(Protocol):
  """Encoded images by their row."""

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns a file's content and its name."""


class Crop(NamedTuple):
  """Random resized crops, as Inception was trained with.

  Attributes:
    area: smallest and largest part of an image that is cut out.
    seed: whole numbers; a crop depends on them, the step and the place.

  Reference:
    Szegedy et al., Going Deeper with Convolutions, 2015.
  """

  area: tuple[float, float]
  seed: tuple[int, ...]


def decode(content: bytes, name: str) -> Image.Image:
  """Decodes an image to RGB.

  Raises:
    ValueError: it is damaged, or no image; names the file.
  """
  try:
    return Image.open(io.BytesIO(content)).convert('RGB')
  except Exception as error:  # Pillow raises whatever its decoders do.
    raise ValueError(
      f'{name} does not decode ({type(error).__name__}: {str(error)[:200]}); '
      'replace that file, or take it out and begin a new run'
    ) from error


def centre_crop(
  image: Image.Image, size: int, *, fraction: float
) -> np.ndarray:
  """Scales the shorter side, and cuts out the middle.

  Args:
    image: of any size; one that is square and has `size` is left alone.
    size: height and width that are wanted.
    fraction: of the scaled shorter side that is kept; 0.875 is 224 of 256.

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


def random_crop(
  image: Image.Image,
  size: int,
  rng: np.random.Generator,
  *,
  area: tuple[float, float],
) -> np.ndarray:
  """Cuts out a part of random area and aspect, and scales it.

  Args:
    image: of any size.
    size: height and width that are wanted.
    rng: of the choice.
    area: as of `Crop`.

  Returns:
    uint8 [size, size, 3].
  """
  width, height = image.size
  for _ in range(_TRIES):
    wanted = rng.uniform(*area) * width * height
    aspect = math.exp(rng.uniform(*map(math.log, _ASPECTS)))
    w, h = round(math.sqrt(wanted * aspect)), round(math.sqrt(wanted / aspect))
    if 0 < w <= width and 0 < h <= height:
      left = int(rng.integers(0, width - w + 1))
      top = int(rng.integers(0, height - h + 1))
      break
  else:
    # A very long image: the most of its middle that an aspect allows.
    w = min(width, round(height * _ASPECTS[1]))
    h = min(height, round(width / _ASPECTS[0]))
    left, top = (width - w) // 2, (height - h) // 2
  box = (left, top, left + w, top + h)
  return np.asarray(image.resize((size, size), _BILINEAR, box=box))


def _cores() -> int:
  """Cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1  # macOS


class Stored:
  """Images on disk, like an array uint8 [N, size, size, 3].

  Indexing by rows gives a part, and reads nothing; `np.asarray` reads all.

  Args:
    source: of the encoded images.
    rows: int [N], of the source.
    size: height and width.
    fraction: as in `centre_crop`.
    threads: that decode at the same time; 0: one per core.
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
    self._threads = threads or _cores()

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
    del copy
    read = list(self.batches(np.arange(len(self)).reshape(-1, 1)))
    found = np.concatenate(read) if read else np.empty(self.shape, np.uint8)
    return found.astype(dtype or np.uint8, copy=False)

  def _load(self, row: int, rng: np.random.Generator | None, area):
    image = decode(*self._source.read(int(self._rows[row])))
    if rng is None:
      return centre_crop(image, self._size, fraction=self._fraction)
    return random_crop(image, self._size, rng, area=area)

  def batches(
    self,
    rows: np.ndarray,
    *,
    crop: Crop | None = None,
    start: int = 0,
    places: np.ndarray | None = None,
  ) -> Iterator[np.ndarray]:
    """Yields batches in order, read ahead by threads (Grain).

    Args:
      rows: int [steps, B].
      crop: random crops; None takes the middle.
      start: first step.
      places: int [B], places in the global batch, of which crops depend;
        those in `rows` by default.

    Yields:
      uint8 [B, H, W, C].

    Raises:
      ValueError: an image is damaged; names its file.
    """
    import grain  # 2 s that runs on resident data save.

    places = np.arange(rows.shape[1]) if places is None else places

    def batch(step: int) -> np.ndarray:
      found = np.empty((rows.shape[1], *self.shape[1:]), np.uint8)
      for column, (row, place) in enumerate(
        zip(rows[step], places, strict=True)
      ):
        rng = None
        if crop is not None:
          rng = np.random.default_rng((*crop.seed, step, int(place)))
        found[column] = self._load(row, rng, crop and crop.area)
      return found

    read = grain.MapDataset.range(start, len(rows)).map(batch)
    threads = min(self._threads, max(len(rows) - start, 1))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    with contextlib.closing(iter(read.to_iter_dataset(ahead))) as iterator:
      yield from iterator
