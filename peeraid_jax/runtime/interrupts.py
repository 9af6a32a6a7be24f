"""Orderly stop on SIGTERM and Ctrl-C.

A signal handler only sets a flag. Training and evaluation look at the flag
between batches and raise `Interrupted` there, when state can be saved.
"""

import signal
from typing import Any

import jax

from peeraid_jax.runtime import processes, progress


class Interrupted(Exception):
  """SIGTERM or Ctrl-C arrived.

  Attributes:
    number: the signal's number.
  """

  def __init__(self, number: int):
    super().__init__(f'interrupted by {signal.Signals(number).name}')
    self.number = number


class Interrupts:
  """Context in which the first SIGTERM or Ctrl-C only sets a flag.

  A second signal has its usual effect and ends the process at once.

  Attributes:
    received: number of the signal that arrived, or None.
  """

  def __init__(self):
    self.received: int | None = None
    self._previous_handlers: dict[int, Any] = {}

  def _handle(self, number, frame):
    del frame
    self.received = number
    progress.say(
      f'{signal.Signals(number).name} received: stopping after the current '
      'batch and saving; a second signal stops at once'
    )
    self._restore_handlers()

  def _restore_handlers(self):
    for number, handler in self._previous_handlers.items():
      signal.signal(number, handler)
    self._previous_handlers = {}

  def __enter__(self):
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous_handlers[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *unused):
    self._restore_handlers()

  def check(self, *unused) -> None:
    """Raises `Interrupted` if a signal arrived and there is one process.

    With several processes it does nothing: if only this process stopped, the
    others would wait for it forever. See `check_together`.
    """
    if self.received is not None and jax.process_count() == 1:
      raise Interrupted(self.received)

  def check_together(self) -> None:
    """Raises `Interrupted` in all processes if a signal arrived in any.

    All processes must call it at the same step, because they communicate.
    """
    if processes.any_of(self.received is not None):
      raise Interrupted(self.received or signal.SIGTERM)
