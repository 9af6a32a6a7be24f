"""Notes for the user: things that are accepted, but should be known."""

import functools
import sys


@functools.cache  # Both splits of a data set lead to the same notes.
def say(text: str) -> None:
  """Prints a line to standard error, once per process."""
  print(f'note: {text}', file=sys.stderr, flush=True)
