"""The user's own images: a folder with one sub-folder per class.

Either DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg ('val' and 'validation'
work as well), or just DIR/CLASS/*.jpg: then a stratified fifth, the same one
in every run, is the test set. Classes are numbered in the order of their
names. Images of formats that are not read are refused; files that are no
images are left out with a note.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from peeraid_jax.data import notes, splits, stored

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.ppm', '.tif', '.tiff')
# Other images: a folder that has some would lose them silently.
_REFUSED = (
  '.apng', '.arw', '.avif', '.cr2', '.cr3', '.dcm', '.dds', '.dib', '.dng',
  '.eps', '.exr', '.gif', '.hdr', '.heic', '.heif', '.icns', '.ico', '.j2k',
  '.jfif', '.jp2', '.jpe', '.jpx', '.jxl', '.jxr', '.mpo', '.nef', '.nii',
  '.orf', '.pbm', '.pcx', '.pfm', '.pgm', '.pnm', '.psd',
  '.qoi', '.raw', '.svg', '.tga', '.xbm', '.xcf', '.xpm',
)  # fmt: skip
_TEST_NAMES = ('test', 'val', 'validation')
_TEST_SHARE = 0.2


class Files:
  """Image files by row: a `stored.Source`.

  Args:
    paths: the files; row i is `paths[i]`.
  """

  has_orientation = True

  def __init__(self, paths: list[pathlib.Path]):
    self._paths = paths

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns a file's content and its path.

    Raises:
      ValueError: the file cannot be read.
    """
    path = self._paths[row]
    try:
      return path.read_bytes(), str(path)
    except OSError as error:
      raise ValueError(f'{path} cannot be read ({error})') from error

  def names(self, rows: np.ndarray) -> Iterator[str]:
    """Yields the names of files, with the folder that each one is in."""
    for row in rows:
      path = self._paths[row]
      yield f'{path.parent.name}/{path.name}'


def load(
  split: str,
  *,
  data_dir: str | None,
  stream: bool,
  image_size: int,
  fraction: float,
  threads: int,
  **options,
) -> splits.Dataset:
  """Loads a folder of images; arguments, result and errors as `data.load`."""
  del options  # Of data sets that are prepared from archives.
  files, rows, labels = find(split, data_dir or '')
  return stored.load(
    files,
    rows,
    labels,
    size=image_size,
    stream=stream,
    fraction=fraction,
    threads=threads,
  )


def _subfolders(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders in a folder by name, without hidden ones."""
  folders = [p for p in path.iterdir() if p.is_dir() and p.name[0] != '.']
  return sorted(folders, key=lambda p: p.name)


def _split_folders(data_dir) -> tuple[pathlib.Path, pathlib.Path | None]:
  """Returns the folders of training images and of test images.

  The latter is None if the test set is a part of the former.

  Raises:
    FileNotFoundError: there is no such folder.
  """
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
  """Returns the names of the classes, in the order of their labels.

  Args:
    data_dir: the folder of images.

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: it has fewer than two sub-folders.
  """
  train, _ = _split_folders(data_dir)
  names = [p.name for p in _subfolders(train)]
  if len(names) < 2:
    raise ValueError(
      f'{train} has {len(names)} sub-folders; there should be two or more, '
      'one per class'
    )
  return names


def _images(
  path: pathlib.Path, names: list[str]
) -> tuple[list[pathlib.Path], np.ndarray]:
  """Returns the image files below a folder, and their labels int32 [N].

  Args:
    path: folder with one sub-folder per class.
    names: all classes.

  Raises:
    ValueError: a sub-folder is not among the classes, or has an image of a
      format that is not read.
  """
  paths, labels, others = [], [], []
  for folder in _subfolders(path):
    if folder.name not in names:
      raise ValueError(
        f'{folder}: there are no training images of class {folder.name!r}; '
        f'known: {", ".join(names[:20])}'
      )
    files = []
    for file in sorted(folder.rglob('*')):
      ending = file.suffix.lower()
      if ending in _SUFFIXES:
        files.append(file)
      elif file.name[0] == '.' or file.is_dir():
        continue
      elif ending in _REFUSED:
        raise ValueError(
          f'{file} is an image of a format that is not read ({ending}); save '
          f'it as PNG or JPEG, or remove it. Known: {" ".join(_SUFFIXES)}'
        )
      else:
        others.append(file)
    paths += files
    labels += [names.index(folder.name)] * len(files)
  others += [p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES]
  if others:
    notes.say(
      f'{path}: {len(others)} files are left out, which are no images in the '
      f'folder of a class: {others[0]}' + (', ...' if others[1:] else '')
    )
  return paths, np.array(labels, np.int32)


def find(split: str, data_dir) -> tuple[Files, np.ndarray, np.ndarray]:
  """Finds the images of a split, sorted by class and path.

  Args:
    split: 'train' or 'test'.
    data_dir: the folder of images.

  Returns:
    (files, int [N] rows of the files that are in this split, int32 [N] labels
    of these rows).

  Raises:
    FileNotFoundError: there is no such folder.
    ValueError: a class has no image, or only the test set has it.
  """
  names = classes(data_dir)
  train, test = _split_folders(data_dir)
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
    remaining, held_out = splits.hold_out(
      splits.Dataset(rows, labels),
      max(round(_TEST_SHARE * len(rows)), 1),
      seed=0,
    )
    rows, labels = remaining if split == 'train' else held_out
  return Files(paths), rows, labels
