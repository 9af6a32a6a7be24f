"""The standard streams of a command, whatever they were at its start."""

import contextlib
import os
import select
import sys


def prepare() -> None:
  """Makes input and output usable; a command calls it before anything else.

  A stream that was closed at the start leads to `os.devnull`: otherwise the
  next file that is opened would get its number, and what libraries print would
  be written into that file. Characters that a terminal cannot show are printed
  as escapes such as \\\\xe9, instead of ending the run.
  """
  descriptor = os.open(os.devnull, os.O_RDWR)
  while descriptor <= 2:
    # Processes that this one starts inherit it, as they do other streams.
    os.set_inheritable(descriptor, True)
    descriptor = os.open(os.devnull, os.O_RDWR)
  os.close(descriptor)
  for name, number in (('stdin', 0), ('stdout', 1), ('stderr', 2)):
    if getattr(sys, name) is None:
      mode = 'w' if number else 'r'
      setattr(sys, name, open(number, mode, closefd=False))
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')


def notify(text: str) -> None:
  """Writes a line to stderr from any thread, without waiting.

  A line that would have to wait, because nobody reads a full pipe, is dropped.
  """
  line = f'{text}\n'.encode()
  with contextlib.suppress(OSError, ValueError):
    if select.select([], [2], [], 0)[1]:
      # A progress bar leaves the cursor of a terminal within its line.
      os.write(2, b'\n' + line if os.isatty(2) else line)
