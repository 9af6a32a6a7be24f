"""Compiled programs are kept, so that the next run of them starts at once."""

import os
import pathlib
import platform
import zlib


def _machine() -> str:
  """Names what a program for a CPU depends on."""
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
  """Returns the folder in the user's cache, one for each kind of CPU.

  A home may be shared by machines, and JAX's key does not tell what
  instructions a program was compiled for.
  """
  root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(root) / 'peeraid_jax' / _machine()


# JAX skips what compiles in a second; a start has many of those.
_DEFAULTS = {
  'jax_persistent_cache_min_compile_time_secs': 0.0,
  'jax_persistent_cache_min_entry_size_bytes': -1,
}


def enable() -> None:
  """Keeps compiled programs where the user did not say otherwise.

  JAX's own variables go first: JAX_COMPILATION_CACHE_DIR names another
  folder, JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. A folder that
  cannot be written to costs a warning.
  """
  import jax

  if jax.config.jax_compilation_cache_dir is not None:
    return
  for name, value in _DEFAULTS.items():
    if name.upper() not in os.environ:
      jax.config.update(name, value)
  jax.config.update('jax_compilation_cache_dir', str(default_folder()))
