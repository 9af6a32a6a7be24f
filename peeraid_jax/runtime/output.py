"""Output of a command that outlives its reader."""

import contextlib
import os
import sys

from peeraid_jax.runtime import terminal


class _Lasting:
  """A text stream that ignores that it cannot be written any more.

  Args:
    stream: a standard stream.
    note: what to say on stderr if it fails; '' for nothing.
  """

  def __init__(self, stream, note: str):
    self._stream, self._note = stream, note

  def write(self, text: str) -> int:
    try:
      self._stream.write(text)
    except OSError as error:
      self._give_up(error)
    return len(text)

  def flush(self) -> None:
    try:
      self._stream.flush()
    except OSError as error:
      self._give_up(error)

  def _give_up(self, error: OSError) -> None:
    """Leads the stream to nowhere, from now on."""
    with contextlib.suppress(OSError):
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._stream.fileno())
      os.close(nowhere)
    if self._note:
      terminal.notify(self._note.format(error=error.strerror))

  def __getattr__(self, name: str):
    return getattr(self._stream, name)


def protect() -> None:
  """Lets the command go on when a standard stream fails.

  That happens when nobody reads a pipe any more (`| head -1`), when a terminal
  is closed, or when the disk of a log file is full.
  """
  sys.stdout = _Lasting(
    sys.stdout,
    'note: the standard output cannot be written ({error}); the run goes on '
    'without it',
  )
  sys.stderr = _Lasting(sys.stderr, '')
