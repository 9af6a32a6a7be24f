"""Atomic file writing and JSON reading, the only copies in the package.

A writer fills a temporary file beside the target and renames it at the end.
Whoever reads the target, and a run that is killed while it writes, therefore
sees the old content or the new content, never a part of it.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

_TEMPORARY = '.peeraid-'


@contextlib.contextmanager
def replacing(path, *, suffix: str = '.tmp') -> Iterator[pathlib.Path]:
  """Yields a temporary path; it replaces `path` when the block succeeds.

  The content is on the disk before it replaces `path`. If the block raises,
  `path` stays as it was and the temporary file is removed. Several processes
  may write the same `path`: each fills a file of its own, and the last one to
  finish wins. A symbolic link at `path` is replaced, not followed.

  Args:
    path: the file to write.
    suffix: the end of the temporary file's name. Some writers need a certain
      one (`numpy.savez` needs '.npz').

  Raises:
    OSError: the folder cannot be written.
  """
  path = pathlib.Path(path)
  remove_leftovers(path.parent)
  # Independent of the target's name, which may be as long as a name can be.
  temporary = path.with_name(f'{_TEMPORARY}{secrets.token_hex(8)}{suffix}')
  # O_EXCL: neither a file of another process nor a link is opened.
  lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
  try:
    # Until this process ends, `remove_leftovers` keeps the file.
    with contextlib.suppress(OSError):  # Some file systems have no locks.
      fcntl.flock(lock, fcntl.LOCK_SH)
    yield temporary
    _to_disk(temporary)
    os.replace(temporary, path)
    # Some file systems cannot do that with a folder.
    with contextlib.suppress(OSError):
      _to_disk(path.parent)
  finally:
    temporary.unlink(missing_ok=True)
    os.close(lock)


def _to_disk(path: pathlib.Path) -> None:
  """Waits until the content of a file or folder is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as error:
    # Some file systems do not offer it.
    if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
      raise
  finally:
    os.close(descriptor)


def remove_leftovers(folder) -> None:
  """Removes temporary files of `replacing` whose writers were killed.

  A writer that is still at work holds a lock on its file, which stays. So do
  files that cannot be locked or removed.

  Args:
    folder: where to look, without its sub-folders; it need not exist.
  """
  folder = pathlib.Path(folder)
  for path in folder.glob(f'{_TEMPORARY}*'):
    with contextlib.suppress(OSError):
      file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
      finally:
        os.close(file)


def write_text(path, text: str) -> None:
  """Writes a text file atomically, in UTF-8.

  Raises:
    OSError: the folder cannot be written.
  """
  with replacing(path) as temporary:
    # Names of files need not be valid text: what is not is escaped.
    temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


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
    return json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f'{path} is damaged ({type(error).__name__}: {str(error)[:300]})'
    ) from error
