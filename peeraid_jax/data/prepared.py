"""Reads data sets that TFDS, or `tfds_writer`, has prepared.

No TensorFlow is needed: the files are in the format array_record, which can
be read in any order.
"""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from peeraid_jax.data import facts, index

# How many records are read at once.
_CHUNK = 4096


def default_dir() -> str:
  """Where TFDS looks for data: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
  return os.path.expanduser(
    os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
  )


def folder_of(entry: facts.Source, data_dir: str) -> pathlib.Path | None:
  """Returns the folder of the newest prepared version, or None."""
  # Folders of preparations that are under way begin with a letter.
  versions = sorted(
    (pathlib.Path(data_dir) / entry.tfds).glob('[0-9]*/dataset_info.json')
  )
  return versions[-1].parent if versions else None


def read(
  entry: facts.Source, split: str, data_dir: str
) -> tuple[np.ndarray, np.ndarray]:
  """Reads a prepared split into memory, in its original order.

  Args:
    entry: record of a data set whose images have one size.
    split: 'train' or 'test'.
    data_dir: folder of prepared data sets.

  Returns:
    (images uint8 [N, H, W, C], labels int32 [N]).

  Raises:
    ValueError: the prepared files are damaged, or have another format.
  """
  folder = folder_of(entry, data_dir)
  _check_format(folder)
  try:
    data_source = _open(folder, entry, split)
    images = np.empty((len(data_source), *entry.shape), np.uint8)
    labels = np.empty(len(data_source), np.int32)
    ids = []
    for row, record in enumerate(_records(data_source)):
      images[row] = record['image']
      labels[row] = record['label']
      # SVHN 3.0.0 has no ids; its records are in the original order.
      ids.append(record.get('id', b'%09d' % row))
  # Riegeli (the format), Pillow and TFDS raise many classes.
  except Exception as error:
    raise _damaged(folder, error) from error
  order = np.argsort(np.array(ids), kind='stable')
  return images[order], labels[order]


def _damaged(folder: pathlib.Path, error: Exception) -> ValueError:
  """Returns the error of prepared files that cannot be read."""
  return ValueError(
    f'{folder} is damaged ({type(error).__name__}: {str(error)[:200]}). '
    'Delete that folder: it is prepared again from the archive.'
  )


def _check_format(folder: pathlib.Path) -> None:
  """Checks that records can be read in any order, without TensorFlow.

  Raises:
    ValueError: TFDS wrote them in another format.
  """
  try:
    info = json.loads((folder / 'dataset_info.json').read_text())
    file_format = info.get('fileFormat', 'tfrecord')
  except (OSError, ValueError, AttributeError):
    return  # Damaged: the caller finds out when it opens the files.
  if file_format != 'array_record':
    raise ValueError(
      f'{folder} is in the format {file_format}, which cannot be read in any '
      'order; make a copy with `tfds build --file_format=array_record`, or '
      'name another folder with --config.data.dir=DIR'
    )


def _open(folder: pathlib.Path, entry: facts.Source, split: str, **kwargs):
  """Opens a prepared split as TFDS's data source: a sequence of records."""
  import logging

  import tensorflow_datasets as tfds

  # At each read TFDS advises to install OpenCV; Pillow is fast enough.
  logging.getLogger('absl').setLevel(logging.ERROR)
  if split == 'test':
    split = entry.test_split
  # By folder, because by name TFDS would download what is missing.
  builder = tfds.builder_from_directory(folder)
  return builder.as_data_source(split, **kwargs)


def _records(data_source) -> Iterator[dict[str, Any]]:
  """Yields all records, in the order of the files."""
  for start in range(0, len(data_source), _CHUNK):
    rows = range(start, min(start + _CHUNK, len(data_source)))
    yield from data_source.__getitems__(list(rows))


class Records:
  """The encoded images of a prepared split by row: a `stored.Source`.

  Args:
    data_source: TFDS's data source, which does not decode.
    folder: the folder it reads, for error messages.
  """

  # The published protocols decode these data sets without EXIF data.
  has_orientation = False

  def __init__(self, data_source, folder: pathlib.Path):
    self._data_source, self._folder = data_source, folder

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns an encoded image, and its name for error messages.

    Raises:
      ValueError: the prepared file is damaged there.
    """
    try:
      content = bytes(self._data_source[row]['image'])
    except Exception as error:  # As in `read`.
      raise _damaged(self._folder, error) from error
    return content, f'record {row} in {self._folder}'

  def names(self, rows: np.ndarray) -> tuple[str, ...]:
    """Returns nothing: records are in another order in every copy."""
    del rows
    return ()


def open_split(
  entry: facts.Source, split: str, data_dir: str
) -> tuple[Records, np.ndarray, np.ndarray]:
  """Opens a prepared split whose images stay on disk.

  Labels and ids are in the records, next to the images. The first call reads
  all records for them, and `index` keeps what it found.

  Args:
    entry: record of the data set.
    split: 'train' or 'test'.
    data_dir: folder of prepared data sets.

  Returns:
    (encoded images, int [N] rows of these in the original order, int32 [N]
    labels of these rows).

  Raises:
    ValueError: the prepared files are damaged, or have another format.
  """
  import tensorflow_datasets as tfds

  folder = folder_of(entry, data_dir)
  _check_format(folder)
  try:
    data_source = _open(
      folder, entry, split, decoders={'image': tfds.decode.SkipDecoding()}
    )
    found = index.read(folder, split, len(data_source))
    if found is None:
      labels, ids = [], []
      for row, record in enumerate(_records(data_source)):
        labels.append(record['label'])
        ids.append(record.get(entry.id_feature, b'%09d' % row))
      order = np.argsort(np.array(ids), kind='stable')
      found = order, np.array(labels, np.int32)[order]
      index.write(folder, split, *found)
  except Exception as error:  # As in `read`.
    raise _damaged(folder, error) from error
  return Records(data_source, folder), *found
