"""A run's folder: made, checked, and used by one run at a time."""

import contextlib
import errno
import fcntl
import os
import pathlib
import platform

import jax
import ml_collections

from peeraid_jax import checkpoint, metrics
from peeraid_jax import config as config_lib
from peeraid_jax import results as results_lib


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Makes a work directory, or checks that it is this config's.

  Raises:
    ValueError: it was made with another config; the difference is shown.
    NotADirectoryError, PermissionError: it cannot be used.
  """
  path = workdir / 'config.json'
  given = config_lib.to_json(config)
  if path.exists():
    stored = config_lib.to_json(checkpoint.read_config(workdir))
    changed = config_lib.differences(stored, given)
    if changed:
      lines = '\n'.join(
        f'  {field}: {old!r} there, {new!r} now'
        for field, (old, new) in changed.items()
      )
      raise ValueError(
        f'{workdir} was made with another config:\n{lines}\n'
        'Go on with that config, or name another folder with --workdir=DIR.'
      )
    return
  if any((workdir / 'checkpoints').glob('*/*')):
    raise ValueError(
      f'{workdir} has checkpoints but no config.json; name another folder '
      'with --workdir=DIR'
    )
  if jax.process_index() == 0:
    results_lib.write(path, given)


@contextlib.contextmanager
def held(workdir: pathlib.Path):
  """Holds a work directory, which is made if it is not there.

  The lock is the operating system's: it ends with the process, however that
  ends.

  Raises:
    BlockingIOError: another run holds it; says which.
    NotADirectoryError, OSError: it cannot be made or written.
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
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise
      metrics.say(
        f'warning: {workdir} lies on a file system without locks; see to it '
        'that no second run uses it'
      )
    file.truncate(0)
    file.write(f'process {os.getpid()} on {platform.node()}\n')
    file.flush()
    yield
