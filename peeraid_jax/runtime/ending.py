"""How the command ends, in one process or in several.

JAX's own end waits for all processes. It is left out where one of them may wait
for this one in the middle of a computation.
"""

import contextlib
import sys
import traceback
from typing import NoReturn

from peeraid_jax.runtime import peers


def _flush() -> None:
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()


def leave(code: int, text: str = '') -> NoReturn:
  """Ends the command because of an error or a signal.

  With several processes, the others then end, too.

  Args:
    code: exit code.
    text: a line for stderr; without one, all processes stop in good order.
  """
  if peers.current is None:
    sys.exit(text or code)
  if text:
    peers.current.confirm_others()
  _flush()
  peers.current.end(code, text)
  raise AssertionError('the process has ended')


def leave_unexpected(error: Exception) -> None:
  """Ends the command because of an error that nobody expected.

  With one process it returns, and Python prints the traceback. With several,
  the error may be the consequence of another process's death, which is then
  reported instead.
  """
  if peers.current is None:
    return
  peers.current.confirm_others()
  traceback.print_exception(error)
  leave(1, f'error: {type(error).__name__}: {str(error)[:300]}')


def finish() -> None:
  """Waits until all processes have ended their work."""
  if peers.current is not None:
    _flush()
    peers.current.finish()
