"""The work directory of a run: its config file and its lock."""

import contextlib
import errno
import fcntl
import os
import pathlib
import platform
import re
from typing import Any

import jax
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import files
from peeraid_jax.runtime import paths, progress

_RESTORE_CONFIG = (
  "Restore the run's config there, or name another folder with --workdir=DIR"
)

# The system's limit is 4096 bytes; names within a checkpoint need the rest.
_LONGEST = 3500


def read_config(workdir) -> ml_collections.ConfigDict:
  """Reads the config with which a work directory was created.

  Raises:
    FileNotFoundError: the folder is not the work directory of a run.
    ValueError: its config is damaged.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.exists():
    raise FileNotFoundError(
      f'{workdir} is not the work directory of a run: it has no config.json'
    )
  try:
    stored = files.read_json(path)
  except ValueError as error:
    raise ValueError(f'{error}. {_RESTORE_CONFIG}') from error
  try:
    return config_lib.from_json(stored)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{path} is damaged ({type(error).__name__}: {str(error)[:300]}). '
      f'{_RESTORE_CONFIG}'
    ) from error


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes `config.json`, or checks that the existing one has this config.

  Args:
    config: validated.
    workdir: an existing folder; see `held`.

  Raises:
    ValueError: the work directory has another config (the message lists the
      differences), a damaged one, or checkpoints without a config.
    OSError: the folder cannot be written.
  """
  path = workdir / 'config.json'
  if path.exists():
    changed = config_lib.differences(
      _comparable(read_config(workdir)), _comparable(config)
    )
    if changed:
      lines = '\n'.join(
        f'  {field}: {old!r} there, {new!r} now'
        for field, (old, new) in changed.items()
      )
      raise ValueError(
        f'{workdir} was made with another config:\n{lines}\n'
        'Continue with that config, or name another folder with --workdir=DIR.'
      )
    return
  if any((workdir / 'checkpoints').glob('*/*')):
    raise ValueError(
      f'{workdir} has checkpoints but no config.json; name another folder '
      'with --workdir=DIR'
    )
  if jax.process_index() == 0:
    files.write_json(path, config_lib.to_json(config))


def _check_path(workdir: pathlib.Path) -> None:
  """Refuses folders in which checkpoints cannot be saved and read again.

  Raises:
    ValueError: says what is wrong with the path.
  """
  path = str(workdir.absolute())
  length = len(os.fsencode(path))
  if length > _LONGEST:
    raise ValueError(
      f'--workdir={str(workdir)[:50]}...: its whole path has {length} bytes '
      f'and should have at most {_LONGEST}, since checkpoints add to it'
    )
  # Orbax looks for its files by patterns, in which brackets list characters.
  # TensorStore takes a backslash for a slash.
  if found := re.search(r'\[[^]]+\]|\\', path):
    raise ValueError(
      f'--workdir={workdir}: checkpoints in a folder with {found[0]} in its '
      'whole path cannot be read again; name another folder with --workdir=DIR'
    )


def _comparable(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns a config as JSON, with '~' expanded, as runs now store it."""
  config = ml_collections.ConfigDict(config.to_dict())
  return config_lib.to_json(paths.expand_config(config, check=False))


@contextlib.contextmanager
def held(workdir: pathlib.Path):
  """Context that creates a work directory and locks it for this run.

  The operating system releases the lock when the process ends, even if it is
  killed. With several processes, process 0 holds the lock for all.

  Args:
    workdir: the folder; it is created if it does not exist.

  Raises:
    BlockingIOError: another run holds the lock; the message names its process.
    NotADirectoryError, OSError: the folder cannot be created or written.
    ValueError: checkpoints cannot be in a folder of that name.
  """
  _check_path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except (FileExistsError, NotADirectoryError):
    raise NotADirectoryError(
      f'--workdir={workdir} is not a folder, or lies in a file'
    ) from None
  except OSError as error:
    raise _not_writable(workdir, error) from None
  if jax.process_index():
    yield
    return
  with _open_lock(workdir) as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BlockingIOError(
        f'{workdir} is in use by {file.read().strip() or "another run"}. Wait '
        'for its end, or name another folder with --workdir=DIR'
      ) from None
    except OSError as error:
      # Some network file systems have no locks.
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise
      progress.say(
        f'warning: {workdir} lies on a file system without locks; make sure '
        'that no second run uses it'
      )
    file.truncate(0)
    file.write(f'process {os.getpid()} on {platform.node()}\n')
    file.flush()
    files.remove_leftovers(workdir)
    yield


def _open_lock(workdir: pathlib.Path):
  """Opens the lock file of a work directory to read and write it.

  Raises:
    OSError: it cannot be written, or is a symbolic link: to write through it
      would destroy the file that it points to.
  """
  path = workdir / '.lock'
  try:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
  except OSError as error:
    if error.errno == errno.ELOOP:
      raise OSError(
        f'{path} is a symbolic link, which is not written through; delete it'
      ) from None
    raise _not_writable(workdir, error) from None
  return open(descriptor, 'r+', encoding='utf-8', errors='replace')


def _not_writable(workdir: pathlib.Path, error: OSError) -> OSError:
  """Returns the error of a work directory that cannot be written."""
  return type(error)(
    f'--workdir={workdir} cannot be written ({error.strerror}); name another '
    'folder with --workdir=DIR'
  )
