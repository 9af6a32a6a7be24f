"""Data sets: each one is loaded as a `Dataset`, in memory or on disk.

`SOURCES` lists them; `register` adds one from outside of the package:

  data.register('mine', data.Source(
    shape=(8, 8, 1),
    num_classes=3,
    load=lambda split, **options: data.Dataset(images, labels),
  ))
"""

import os

import numpy as np

from peeraid_jax.data import builtin, prepared, stored, tfds_writer
from peeraid_jax.data.batches import Batch, Resident, Rows, Streamed
from peeraid_jax.data.facts import SOURCES, Source, get, register
from peeraid_jax.data.splits import Dataset, hold_out, subset
from peeraid_jax.data.stored import Stored

__all__ = [
  'SOURCES',
  'Batch',
  'Dataset',
  'Resident',
  'Rows',
  'Source',
  'Stored',
  'Streamed',
  'get',
  'hold_out',
  'load',
  'register',
  'subset',
]

for _name, _source in builtin.ENTRIES.items():
  register(_name, _source)


def load(
  name: str,
  *,
  split: str,
  data_dir: str | None = None,
  source: str = '',
  download: bool = False,
  stream: bool = False,
  image_size: int = 0,
  fraction: float = 0.875,
  threads: int = 0,
) -> Dataset:
  """Loads a split of a data set, in its original order.

  Args:
    name: name of the data set in `SOURCES`.
    split: 'train' or 'test'; 'test' of TinyImageNet and ImageNet is the
      official validation set.
    data_dir: folder of prepared data sets, and of archives to prepare; by
      default $TFDS_DATA_DIR, else ~/tensorflow_datasets. For 'folder': the
      folder of images.
    source: path of the archive to prepare from, if it lies elsewhere.
    download: fetch a missing archive from its public address.
    stream: leave the images on disk and decode them when they are needed;
      ignored by data sets that cannot be streamed.
    image_size: height and width in pixels to which images are scaled and
      cropped, for data sets whose images have any size.
    fraction: as in `stored.centre_crop`.
    threads: number of threads that decode images; 0: one per core.

  Returns:
    Images uint8 [N, H, W, C] and labels int32 [N].

  Raises:
    ValueError: unknown name or split, a broken archive, a folder of another
      layout, an image that does not decode, or a registered data set whose
      `load` returns something else than images and labels.
    FileNotFoundError: the data set is missing; the message says what to
      download and where to put it.
  """
  entry = get(name)
  if split not in ('train', 'test'):
    raise ValueError(f'{split=} should be train or test')
  options = {
    # Every path that a config gives to a data set is expanded here.
    'data_dir': data_dir and os.path.expanduser(data_dir),
    'source': os.path.expanduser(source),
    'download': download,
    'stream': stream,
    'image_size': image_size,
    'fraction': fraction,
    'threads': threads,
  }
  if entry.load is None:
    return _load_prepared(name, entry, split, **options)
  images, labels = entry.load(split, **options)
  _check(name, entry, images, labels)
  return Dataset(images, np.asarray(labels, np.int32))


def _load_prepared(
  name: str,
  entry: Source,
  split: str,
  *,
  data_dir: str | None,
  source: str,
  download: bool,
  stream: bool,
  image_size: int,
  fraction: float,
  threads: int,
) -> Dataset:
  """Loads a data set without `load`; prepares it if it is not there yet."""
  where = data_dir or prepared.default_dir()
  if not prepared.folder_of(entry, where):
    tfds_writer.prepare(name, entry, where, archive=source, download=download)
  if entry.shape[0] and not stream:
    return Dataset(*prepared.read(entry, split, where))
  images, rows, labels = prepared.open_split(entry, split, where)
  return stored.load(
    images,
    rows,
    labels,
    size=entry.shape[0] or image_size,
    stream=stream,
    fraction=fraction,
    threads=threads,
  )


def _check(name: str, entry: Source, images, labels) -> None:
  """Checks what the `load` of a data set returned.

  Raises:
    ValueError: images or labels have another type, shape or range.
  """
  shape = tuple(size or 'any' for size in entry.shape)
  fits = len(images.shape) == 4 and images.dtype == np.uint8
  if not fits or any(
    expected not in ('any', actual)
    for expected, actual in zip(shape, images.shape[1:], strict=True)
  ):
    raise ValueError(
      f'data set {name!r}: load should return images uint8 [N, '
      f'{", ".join(map(str, shape))}]; it returned {images.dtype} '
      f'{list(images.shape)}'
    )
  labels = np.asarray(labels)
  if labels.shape != (len(images),) or labels.dtype.kind not in 'iu':
    raise ValueError(
      f'data set {name!r}: load should return whole numbers as labels, one '
      f'for each of {len(images)} images; it returned {labels.dtype} '
      f'{list(labels.shape)}'
    )
  largest = entry.num_classes - 1
  if (
    entry.num_classes
    and labels.size
    and not (0 <= labels.min() and labels.max() <= largest)
  ):
    raise ValueError(
      f'data set {name!r}: labels should be between 0 and {largest} '
      f'(num_classes={entry.num_classes}); they are between {labels.min()} '
      f'and {labels.max()}'
    )
