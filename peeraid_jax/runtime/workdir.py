"""The work directory of a run: its config file and its lock."""

import contextlib
import errno
import fcntl
import os
import pathlib
import platform

import jax
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax.runtime import files, progress

_RESTORE_CONFIG = (
  "Restore the run's config there, or name another folder with --workdir=DIR"
)


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
  given = config_lib.to_json(config)
  if path.exists():
    stored = config_lib.to_json(read_config(workdir))
    changed = config_lib.differences(stored, given)
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
    files.write_json(path, given)


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
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except (FileExistsError, NotADirectoryError):
    raise NotADirectoryError(
      f'--workdir={workdir} is not a folder, or lies in a file'
    ) from None
  if jax.process_index():
    yield
    return
  with (workdir / '.lock').open('a+') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
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
    yield
