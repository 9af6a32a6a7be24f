"""Indices of prepared records: their order and labels, in the user's cache.

To find labels and order, all records of a split have to be read once. What is
found is kept in $XDG_CACHE_HOME/peeraid_jax/indices, or in ~/.cache instead of
$XDG_CACHE_HOME: the data set may lie in a folder that cannot be written, or
that others use as well.
"""

import contextlib
import hashlib
import json
import os
import pathlib

import numpy as np

from peeraid_jax import files

Index = tuple[np.ndarray, np.ndarray]


def _place(folder: pathlib.Path, split: str) -> pathlib.Path:
  """Returns the path of the index of a split, which need not exist.

  Raises:
    FileNotFoundError: the user has no cache folder.
  """
  for root in (
    os.environ.get('XDG_CACHE_HOME', ''),
    os.path.expanduser('~/.cache'),
  ):
    # XDG's standard ignores relative paths; an unknown home stays '~'.
    if os.path.isabs(root):
      whose = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
      indices = pathlib.Path(root) / 'peeraid_jax' / 'indices'
      return indices / f'{whose}_{split}.npz'
  raise FileNotFoundError


def _state(folder: pathlib.Path) -> str:
  """Returns a text that changes when files of a data set change."""
  files = {path.name: path.stat() for path in folder.iterdir()}
  return json.dumps(
    [[name, s.st_size, s.st_mtime_ns] for name, s in sorted(files.items())]
  )


def read(folder: pathlib.Path, split: str, count: int) -> Index | None:
  """Reads the index of a split.

  Args:
    folder: of the prepared data set.
    split: 'train' or 'test'.
    count: number of records.

  Returns:
    (int [N] rows in the original order, int32 [N] their labels); None if there
    is no index, or files of the data set have changed since it was written.
  """
  try:
    with np.load(_place(folder, split)) as arrays:
      order, labels = arrays['order'], arrays['labels']
      state = str(arrays['state'])
    fits = state == _state(folder)
  except Exception:  # Missing or damaged: NumPy raises many classes.
    return None
  fits &= np.array_equal(np.sort(order), np.arange(count))
  fits &= labels.shape == (count,)
  return (order, labels) if fits else None


def write(
  folder: pathlib.Path, split: str, order: np.ndarray, labels: np.ndarray
) -> None:
  """Writes an index, whole or not at all; does nothing where it cannot.

  Args:
    folder: of the prepared data set.
    split: 'train' or 'test'.
    order: int [N], rows in the original order.
    labels: int32 [N], their labels.
  """
  # Without an index, the next run reads all records again.
  with contextlib.suppress(OSError):
    path = _place(folder, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, suffix='.npz') as temporary:
      np.savez(temporary, order=order, labels=labels, state=_state(folder))
