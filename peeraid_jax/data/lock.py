"""A lock between the processes of a machine, or of several that share files."""

import contextlib
import errno
import fcntl
import os
import pathlib
import platform
from collections.abc import Iterator

from peeraid_jax.data import notes

# Errors of file systems that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def _open(path: pathlib.Path) -> int:
  """Opens a lock file, which may be another user's; never follows a link.

  Raises:
    OSError: it is a symbolic link, or cannot be opened or created.
  """
  try:
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
  except FileNotFoundError:
    with contextlib.suppress(FileExistsError):  # Another process was faster.
      os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
  except PermissionError:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


@contextlib.contextmanager
def held(path: pathlib.Path, purpose: str) -> Iterator[bool]:
  """Context that holds a lock; waits while another process holds it.

  The operating system releases the lock when the process ends, even if it is
  killed. The file stays.

  Args:
    path: the lock file; its folder exists.
    purpose: what the holder does, for the note of those that wait.

  Yields:
    Whether the lock is held; False on file systems without locks.

  Raises:
    OSError: the file is a symbolic link, or cannot be opened or created.
  """
  file = _open(path)
  try:
    try:
      _lock(file, purpose)
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      yield False
      return
    with contextlib.suppress(OSError):  # Another user's file.
      os.ftruncate(file, 0)
      os.pwrite(file, f'process {os.getpid()} on {platform.node()}'.encode(), 0)
    yield True
  finally:
    os.close(file)


def _lock(file: int, purpose: str) -> None:
  """Locks an open file, with a note if that takes time."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    holder = os.pread(file, 200, 0).decode(errors='replace')
    notes.say(f'waiting for {holder or "another process"}, which {purpose}')
    fcntl.flock(file, fcntl.LOCK_EX)
