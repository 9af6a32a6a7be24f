"""Atomic file writing and JSON reading, the only copies in the package.

A writer fills a temporary file beside the target and renames it at the end.
Whoever reads the target, and a run that is killed while it writes, therefore
sees the old content or the new content, never a part of it.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replacing(path, *, suffix: str = '.tmp') -> Iterator[pathlib.Path]:
  """Yields a temporary path; it replaces `path` when the block succeeds.

  If the block raises, `path` stays as it was and the temporary file is
  removed.

  Args:
    path: the file to write.
    suffix: appended to the name of the temporary file. Some writers need a
      certain ending (`numpy.savez` needs '.npz').

  Raises:
    OSError: the folder cannot be written.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'{path.name}{suffix}')
  try:
    yield temporary
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
  """Writes a text file atomically.

  Raises:
    OSError: the folder cannot be written.
  """
  with replacing(path) as temporary:
    temporary.write_text(text)


def write_json(path, content: Any) -> None:
  """Writes a JSON file atomically, indented by two spaces.

  Raises:
    OSError: the folder cannot be written.
    TypeError: `content` cannot be expressed as JSON.
  """
  write_text(path, json.dumps(content, indent=2) + '\n')


def read_json(path) -> Any:
  """Reads a JSON file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not JSON; the message names it.
  """
  path = pathlib.Path(path)
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(
      f'{path} is damaged ({type(error).__name__}: {str(error)[:300]})'
    ) from error
