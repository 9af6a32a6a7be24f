"""SIGTERM and Ctrl-C, turned into an orderly end."""

import signal
from typing import Any

import jax

from peeraid_jax import metrics, processes


class Interrupted(Exception):
  """SIGTERM or Ctrl-C arrived; carries the signal's number."""

  def __init__(self, number: int):
    super().__init__(f'interrupted by {signal.Signals(number).name}')
    self.number = number


class Interrupts:
  """Turns the first SIGTERM or Ctrl-C into a flag; a second one ends."""

  def __init__(self):
    self.received: int | None = None
    self._old: dict[int, Any] = {}

  def _handle(self, number, frame):
    del frame
    self.received = number
    metrics.say(
      f'{signal.Signals(number).name}: saving; once more ends at once'
    )
    self._restore()

  def _restore(self):
    for number, handler in self._old.items():
      signal.signal(number, handler)
    self._old = {}

  def __enter__(self):
    for number in (signal.SIGTERM, signal.SIGINT):
      self._old[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *unused):
    self._restore()

  def check(self, *unused) -> None:
    """Raises `Interrupted` if a signal arrived; not in one process of many.

    Where only this process would stop, the others would wait for it.
    """
    if self.received is not None and jax.process_count() == 1:
      raise Interrupted(self.received)

  def check_together(self) -> None:
    """Raises `Interrupted` in all processes if a signal arrived in any."""
    if processes.any_of(self.received is not None):
      raise Interrupted(self.received or signal.SIGTERM)
