"""A folder of one's own images: one sub-folder per class.

DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val, or validation), or
DIR/CLASS/*.jpg alone: then a stratified fifth, always the same, is the test
set. Classes are numbered in the order of their names.
"""

import pathlib

import numpy as np

from peeraid_jax.data import splits

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.ppm', '.tif', '.tiff')
_TEST_NAMES = ('test', 'val', 'validation')
_TEST_SHARE = 0.2


class Files:
  """A `stored.Source` of files."""

  def __init__(self, paths: list[pathlib.Path]):
    self._paths = paths

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns a file's content and its name.

    Raises:
      ValueError: the file cannot be read.
    """
    path = self._paths[row]
    try:
      return path.read_bytes(), str(path)
    except OSError as error:
      raise ValueError(f'{path} cannot be read ({error})') from error


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
  found = [p for p in path.iterdir() if p.is_dir() and p.name[0] != '.']
  return sorted(found, key=lambda p: p.name)


def _parts(data_dir) -> tuple[pathlib.Path, pathlib.Path | None]:
  """Returns the folder of training images, and that of test images."""
  path = pathlib.Path(data_dir or '')
  if not data_dir or not path.is_dir():
    raise FileNotFoundError(
      f'config.data.dir={str(data_dir or "")!r} should be a folder of images, '
      'with one sub-folder per class, or with train/ and test/ that have them'
    )
  if not (path / 'train').is_dir():
    return path, None
  tests = [path / name for name in _TEST_NAMES if (path / name).is_dir()]
  return path / 'train', tests[0] if tests else None


def classes(data_dir) -> list[str]:
  """Returns the names of the classes.

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: it has fewer than two sub-folders.
  """
  train, _ = _parts(data_dir)
  names = [p.name for p in _folders(train)]
  if len(names) < 2:
    raise ValueError(
      f'{train} has {len(names)} sub-folders; there should be two or more, '
      'one per class'
    )
  return names


def _images(path: pathlib.Path, names: list[str]):
  """Returns the image files below a folder and their labels."""
  paths, labels = [], []
  for folder in _folders(path):
    if folder.name not in names:
      raise ValueError(
        f'{folder}: there are no training images of class {folder.name!r}; '
        f'known: {", ".join(names[:20])}'
      )
    inside = sorted(
      p for p in folder.rglob('*') if p.suffix.lower() in _SUFFIXES
    )
    paths += inside
    labels += [names.index(folder.name)] * len(inside)
  return paths, np.array(labels, np.int32)


def find(split: str, data_dir) -> tuple[Files, np.ndarray, np.ndarray]:
  """Finds the images of a split, by class and name.

  Args:
    split: 'train' or 'test'.
    data_dir: the folder.

  Returns:
    (source, its rows of this split, int32 labels of these).

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: a class has no image, or is unknown.
  """
  names = classes(data_dir)
  train, test = _parts(data_dir)
  if split == 'test' and test is not None:
    paths, labels = _images(test, names)
    if not paths:
      raise ValueError(f'{test} has no images in sub-folders of the classes')
    return Files(paths), np.arange(len(paths)), labels
  paths, labels = _images(train, names)
  empty = sorted(set(range(len(names))) - set(labels.tolist()))
  if empty:
    raise ValueError(
      f'{train / names[empty[0]]} has no image; known endings: '
      f'{" ".join(_SUFFIXES)}'
    )
  rows = np.arange(len(paths))
  if test is None:
    whole = splits.Dataset(rows, labels)
    rest, held = splits.hold_out(
      whole, max(round(_TEST_SHARE * len(rows)), 1), seed=0
    )
    rows, labels = rest if split == 'train' else held
  return Files(paths), rows, labels
