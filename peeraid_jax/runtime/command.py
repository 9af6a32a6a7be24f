"""The set-up that the commands on a finished run share.

`python -m peeraid_jax.export` and `python -m peeraid_jax.report` use it. The
module imports JAX only once the flags have been checked: `--help` and a
mistyped flag answer at once.
"""

import sys
from collections.abc import Callable, Sequence

from absl import logging


def run_command(
  work: Callable[[], None], *, workdir: str | None, unexpected: Sequence[str]
) -> None:
  """Checks the arguments of a command, then does its work.

  An expected error of the work ends the process with a message on one line
  instead of a traceback: a wrong value (ValueError), a file that is missing or
  cannot be written (OSError), a library that is not installed (ImportError).

  Args:
    work: the command itself; it should import heavy modules when called.
    workdir: the value of `--workdir`, which every such command needs.
    unexpected: arguments that belong to no flag.

  Raises:
    SystemExit: the arguments are wrong, or the work failed as above.
  """
  if unexpected:
    sys.exit(f'error: unexpected arguments {list(unexpected)}')
  if not workdir:
    sys.exit(
      'error: --workdir=DIR is missing; give the work directory of a run'
    )
  # Orbax and JAX log each step of reading a checkpoint.
  logging.set_verbosity(logging.WARNING)
  from peeraid_jax.runtime import compilation_cache

  compilation_cache.enable()
  try:
    work()
  except (ValueError, OSError, ImportError) as error:
    sys.exit(f'error: {error}')
