"""Opens the files that networks are read from.

Anybody may have written such a file. Whatever is wrong with it is a ValueError
that names it.
"""

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterator


def _check_is_file(path: pathlib.Path) -> None:
  """Checks that a path leads to a file; reading a pipe would never end."""
  try:
    mode = path.stat().st_mode
  except FileNotFoundError:
    raise FileNotFoundError(f'{path}: no such file') from None
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be found ({error})') from None
  if not stat.S_ISREG(mode):
    kind = 'a folder' if stat.S_ISDIR(mode) else 'a device or a pipe'
    raise ValueError(f'{path} is {kind}; it should be a file')


def _version(file: io.BufferedReader) -> tuple[int, int]:
  """Returns what changes when somebody writes to an open file."""
  status = os.fstat(file.fileno())
  return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def opened(path) -> Iterator[io.BufferedReader]:
  """Opens a file, and puts its name into every error of reading it.

  Args:
    path: of the file.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is no file, cannot be read, does not fit into memory, or
      changed in the meantime; or the block raised a ValueError.
  """
  path = pathlib.Path(path)
  _check_is_file(path)
  try:
    with path.open('rb') as file:
      before = _version(file)
      try:
        yield file
      finally:
        if _version(file) != before:
          raise ValueError('it changed while it was read; read it again')
  except MemoryError:
    raise ValueError(f'{path} does not fit into memory') from None
  except OSError as error:
    raise ValueError(
      f'{path} cannot be read ({error.strerror or error})'
    ) from error
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
