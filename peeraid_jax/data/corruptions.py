"""Corrupted test sets in the layout of CIFAR-10-C.

A folder with one `NAME.npy` per corruption and with `labels.npy`. Each array
is uint8 [5 N, H, W, C]: N images at severity 1, the same at severity 2, and so
on. Labels are [5 N], or [N] if they are the same for all severities.

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


def _load_array(file: pathlib.Path, **kwargs) -> np.ndarray:
  """Reads a NumPy file, and never unpickles objects in it.

  Raises:
    ValueError: it is not an array of numbers; names it.
  """
  try:
    return np.load(file, allow_pickle=False, **kwargs)
  except Exception as error:  # NumPy raises many classes for damaged files.
    raise ValueError(f'{file} is not an array of NumPy ({error})') from error


class Folder:
  """A folder of corruptions, whose images are read when they are needed.

  Args:
    path: path of the folder.
    shape: (H, W, C) that the images should have.

  Attributes:
    names: names of the corruptions, sorted.

  Raises:
    FileNotFoundError: there is no such folder, no corruption or no labels.
    ValueError: a file has another layout; names it.
  """

  def __init__(self, path: str, shape: tuple[int, ...]):
    folder = pathlib.Path(os.path.expanduser(path))
    labels_file = folder / 'labels.npy'
    files = sorted(f for f in folder.glob('*.npy') if f != labels_file)
    if not files or not labels_file.exists():
      raise FileNotFoundError(
        f'{folder} should be a folder with labels.npy and one .npy per '
        'corruption, as CIFAR-10-C has: get CIFAR-10-C.tar from '
        'https://zenodo.org/records/2535967 and unpack it'
      )
    self.names = [file.stem for file in files]
    self._arrays = {}
    self._labels = _load_array(labels_file).astype(np.int32)
    for file in files:
      images = _load_array(file, mmap_mode='r')
      count, rest = divmod(len(images), len(SEVERITIES))
      if rest or images.shape[1:] != shape or images.dtype != np.uint8:
        raise ValueError(
          f'{file} should hold uint8 images of five severities, [5 N, '
          f'{", ".join(map(str, shape))}]; it holds {images.dtype} '
          f'{list(images.shape)}'
        )
      if len(self._labels) not in (count, len(images)):
        raise ValueError(
          f'{labels_file} has {len(self._labels)} labels, {file.name} '
          f'{len(images)} images'
        )
      self._arrays[file.stem] = images

  def read(self) -> Iterator[tuple[str, int, splits.Dataset]]:
    """Yields (name, severity, images and labels) of every corruption.

    The images are views of the file: only rows that are used are read.
    """
    for name in self.names:
      images = self._arrays[name]
      count = len(images) // len(SEVERITIES)
      labels_per_severity = len(self._labels) == len(images)
      for index, severity in enumerate(SEVERITIES):
        first = index * count
        first_label = first if labels_per_severity else 0
        labels = self._labels[first_label : first_label + count]
        part = np.asarray(images[first : first + count])
        yield name, severity, splits.Dataset(part, labels)
