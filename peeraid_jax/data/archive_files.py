"""Files inside of an archive, and the error of an archive that is damaged."""

import pathlib
import zipfile


def unexpected(path: pathlib.Path, expected: str) -> ValueError:
  """Returns the error of an archive that is damaged, or is another one.

  Args:
    path: path of the archive.
    expected: what it should be, or what is wrong with it.
  """
  return ValueError(
    f'{path} is not what was expected: {expected}. Delete it and put the '
    'original file there.'
  )


class Tree:
  """Files by name: of a zip, or of the folder that it unpacks to.

  Args:
    path: the zip; or the unpacked folder, or the folder that holds it.
    root: the one folder in the zip that holds everything.
    size: size of the complete zip, for the error message.

  Attributes:
    path: the same path.
    names: paths of all files, relative to `root`.

  Raises:
    ValueError: the zip is damaged, or is no zip.
  """

  def __init__(self, path: pathlib.Path, root: str, *, size: str):
    self.path = path
    if path.is_dir():
      self._zip = None
      inner = path / root
      self._root = inner if inner.is_dir() else path
      self.names = [
        p.relative_to(self._root).as_posix()
        for p in self._root.rglob('*')
        if p.is_file()
      ]
      return
    try:
      self._zip = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
      raise unexpected(
        path,
        f'a complete zip of {size} ({error}; was the download interrupted?)',
      ) from error
    self._root = f'{root}/'
    self.names = [
      n.removeprefix(self._root)
      for n in dict.fromkeys(self._zip.namelist())
      if n.startswith(self._root) and not n.endswith('/')
    ]

  def read(self, name: str) -> bytes:
    """Returns the content of a file.

    Args:
      name: path relative to `root`.

    Raises:
      ValueError: the file is missing or damaged.
    """
    try:
      if self._zip is None:
        return (self._root / name).read_bytes()
      return self._zip.read(self._root + name)
    except (KeyError, FileNotFoundError):
      raise unexpected(self.path, f'it holds no {name}') from None
    except Exception as error:  # zlib.error, BadZipFile, OSError, ...
      raise unexpected(self.path, f'{name} is damaged ({error})') from error
