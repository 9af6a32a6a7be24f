"""Corrupted test sets in the layout of CIFAR-10-C.

A folder of `NAME.npy`, uint8 [5 N, H, W, C], five severities of N images one
after the other, and `labels.npy`, [5 N] or [N].

Reference:
  Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common
  Corruptions and Perturbations, 2019; data: zenodo.org/records/2535967.
"""

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from peeraid_jax.data import splits

SEVERITIES = (1, 2, 3, 4, 5)


def _load(file: pathlib.Path, **kwargs) -> np.ndarray:
  """Reads an array; never what is pickled in it."""
  try:
    return np.load(file, allow_pickle=False, **kwargs)
  except Exception as error:  # NumPy raises whatever it trips over.
    raise ValueError(f'{file} is not an array of NumPy ({error})') from error


class Folder:
  """Corruptions that lie in a folder; images are read when asked for.

  Args:
    path: of the folder.
    shape: (H, W, C) that the images should have.

  Attributes:
    names: of the corruptions, sorted.

  Raises:
    FileNotFoundError: no such folder, no corruption or no labels in it.
    ValueError: a file of another layout; the message names it.
  """

  def __init__(self, path: str, shape: tuple[int, ...]):
    folder = pathlib.Path(os.path.expanduser(path))
    labels = folder / 'labels.npy'
    files = sorted(f for f in folder.glob('*.npy') if f != labels)
    if not files or not labels.exists():
      raise FileNotFoundError(
        f'{folder} should be a folder with labels.npy and one .npy per '
        'corruption, as CIFAR-10-C has: get CIFAR-10-C.tar from '
        'https://zenodo.org/records/2535967 and unpack it'
      )
    self.names = [file.stem for file in files]
    self._arrays = {}
    self._labels = _load(labels).astype(np.int32)
    for file in files:
      images = _load(file, mmap_mode='r')
      count, rest = divmod(len(images), len(SEVERITIES))
      if rest or images.shape[1:] != shape or images.dtype != np.uint8:
        raise ValueError(
          f'{file} should hold uint8 images of five severities, [5 N, '
          f'{", ".join(map(str, shape))}]; it holds {images.dtype} '
          f'{list(images.shape)}'
        )
      if len(self._labels) not in (count, len(images)):
        raise ValueError(
          f'{labels} has {len(self._labels)} labels, {file.name} '
          f'{len(images)} images'
        )
      self._arrays[file.stem] = images

  def read(
    self, examples: int = 0
  ) -> Iterator[tuple[str, int, splits.Dataset]]:
    """Yields name, severity and its `Dataset`.

    Args:
      examples: first images of each severity; 0 for all.
    """
    for name in self.names:
      images = self._arrays[name]
      count = len(images) // len(SEVERITIES)
      for index, severity in enumerate(SEVERITIES):
        rows = slice(index * count, index * count + (examples or count))
        rows = slice(rows.start, min(rows.stop, (index + 1) * count))
        of_all = len(self._labels) == len(images)
        first = rows.start if of_all else 0
        labels = self._labels[first : first + rows.stop - rows.start]
        yield name, severity, splits.Dataset(np.array(images[rows]), labels)
