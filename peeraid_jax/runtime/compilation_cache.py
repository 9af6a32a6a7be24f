"""JAX's compilation cache on disk, so that a second start need not compile."""

import os
import pathlib
import platform
import zlib


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


def default_folder() -> pathlib.Path:
  """Returns the cache folder of this user and kind of CPU.

  Different machines may share a home directory. JAX's cache key does not
  include the CPU instructions that a program uses, so each kind of CPU needs
  a folder of its own.
  """
  root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(root) / 'peeraid_jax' / _machine()


# By default JAX does not store programs that compile within a second. A start
# compiles many of those, so that all are stored here.
_DEFAULTS = {
  'jax_persistent_cache_min_compile_time_secs': 0.0,
  'jax_persistent_cache_min_entry_size_bytes': -1,
}


def enable() -> None:
  """Turns the cache on, unless the user has configured it.

  JAX's own environment variables take precedence: JAX_COMPILATION_CACHE_DIR
  names another folder, and JAX_ENABLE_COMPILATION_CACHE=false turns the cache
  off. If the folder cannot be written, JAX warns and the run continues.
  """
  import jax

  if jax.config.jax_compilation_cache_dir is not None:
    return
  for name, value in _DEFAULTS.items():
    if name.upper() not in os.environ:
      jax.config.update(name, value)
  jax.config.update('jax_compilation_cache_dir', str(default_folder()))
