"""JAX's compilation cache on disk, so that a second start need not compile."""

import os
import pathlib
import platform
import zlib

from peeraid_jax.runtime import progress


def _machine() -> str:
  """Identifies the instruction set of the CPU: architecture and a checksum."""
  features = platform.processor()
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    features = next(
      line for line in lines if line.startswith(('flags', 'Features'))
    )
  except (OSError, StopIteration):
    pass
  return f'{platform.machine()}-{zlib.crc32(features.encode()):08x}'


def default_folder() -> pathlib.Path | None:
  """Returns the cache folder of this user and kind of CPU.

  Different machines may share a home directory. JAX's cache key does not
  include the CPU instructions that a program uses, so each kind of CPU needs
  a folder of its own.

  Returns:
    The folder; None if the user has no home directory, as in a container that
    runs under a number, and XDG_CACHE_HOME is not set.
  """
  home = os.path.expanduser('~/.cache')
  for root in (os.environ.get('XDG_CACHE_HOME', ''), home):
    # XDG's standard ignores relative paths; an unknown home stays '~'.
    if os.path.isabs(root):
      return pathlib.Path(root) / 'peeraid_jax' / _machine()
  return None


# By default JAX does not store programs that compile within a second. A start
# compiles many of those, so that all are stored here. Beyond the largest size,
# in bytes, JAX deletes the programs that were used longest ago.
_DEFAULTS = {
  'jax_persistent_cache_min_compile_time_secs': 0.0,
  'jax_persistent_cache_min_entry_size_bytes': -1,
  'jax_compilation_cache_max_size': 2 * 2**30,
}


def _remove_unfinished(folder: pathlib.Path) -> None:
  """Creates a cache folder; removes what a process left that was killed there.

  JAX notes the time of use in a second file once an entry is written. Entries
  without one are cut off, or come from before the cache had a largest size;
  with them JAX would add no others.

  Raises:
    OSError: the folder cannot be written, or stays locked.
    NotImplementedError: its file system has no locks.
    ImportError: JAX cannot limit the size, since filelock is not installed.
  """
  import filelock

  folder.mkdir(parents=True, exist_ok=True)
  # JAX's own lock: another process may be between its two files.
  with filelock.FileLock(folder / '.lockfile', timeout=10):
    for entry in folder.glob('*-cache'):
      used = entry.with_name(f'{entry.name.removesuffix("-cache")}-atime')
      if not used.exists():
        entry.unlink(missing_ok=True)


def enable() -> None:
  """Turns the cache on, unless the user has configured it.

  JAX's own environment variables take precedence: JAX_COMPILATION_CACHE_DIR
  names another folder, JAX_COMPILATION_CACHE_MAX_SIZE sets another size, and
  JAX_ENABLE_COMPILATION_CACHE=false turns the cache off. If there is no folder
  that can be written, programs are compiled at each start, and a line says so.
  A damaged program is compiled again; JAX warns.
  """
  import jax

  if jax.config.jax_compilation_cache_dir is not None:
    return
  if not jax.config.jax_enable_compilation_cache:
    return
  folder = default_folder()
  try:
    if folder is None:
      raise OSError('no home directory is known')
    _remove_unfinished(folder)
  except (OSError, NotImplementedError, ImportError) as error:
    progress.say(
      f'note: compiled programs are not kept for the next start ({error}); '
      'XDG_CACHE_HOME=DIR names a folder for them'
    )
    return
  for name, value in _DEFAULTS.items():
    if name.upper() not in os.environ:
      jax.config.update(name, value)
  jax.config.update('jax_compilation_cache_dir', str(folder))
