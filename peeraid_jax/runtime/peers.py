"""What the processes of a run tell each other while they compute.

A thread in each process writes on their board, and reads what the others wrote,
twice a second:

- 'alive': a number that grows. If it stays the same for long, the process died.
- 'signal': the signal that the process received. All stop, see `may_stop`.
- 'failed': an error that the process will report when all meet.
- 'left': exit code and reason of a process that ends. If it ended because of an
  error or a signal, those that still wait for it end, too.
"""

import contextlib
import threading
import time
from typing import Any

from peeraid_jax.runtime import board as board_lib
from peeraid_jax.runtime import forwarding, interrupts, terminal

_SECONDS_BETWEEN_LOOKS = 0.5
# How long a process may go on after others have stopped in good order.
_SECONDS_TO_STOP = 10
# How long process 0 stays when it ends, so that the others can read why.
_SECONDS_TO_READ = 5


def _died(index: int, how: str) -> str:
  return (
    f'process {index} died, or its machine or network is gone ({how}). The '
    'same command in all processes goes on from the last checkpoint'
  )


def of_process(index: int, message: str) -> str:
  """Returns an error message with its process, unless it names one already."""
  if message.startswith('process '):
    return message
  return f'process {index}: {message}'


class Watch:
  """This process among the others.

  Args:
    board: of the run.
    patience: seconds without an answer after which a process counts as dead.
  """

  def __init__(self, board: board_lib.Board, patience: float):
    self.board, self._patience = board, patience
    # What was read last: kind -> process -> value.
    self._told: dict[str, dict[int, Any]] = {}
    # Of each other process: for how many of our looks its 'alive' has been the
    # same, and how often it changed. Looks, not seconds: after a time in which
    # all processes were suspended, nobody counts as dead.
    self._unchanged = dict.fromkeys(self.board.others, 0)
    self._changes = dict.fromkeys(self.board.others, 0)
    self._left_since: dict[int, float] = {}
    # Held while all agree where to stop: `may_stop` waits.
    self._agreement = threading.Lock()
    self._agreeing = False
    self._calls = 0
    self._stop_at: int | None = None
    self._ending = threading.Lock()
    self._lost = self._done = False

  def _read(self) -> None:
    """Reads what all processes wrote."""
    read = self.board.read()
    for other in self.board.others:
      now, before = (r.get('alive', {}).get(other) for r in (read, self._told))
      if now != before:
        self._unchanged[other] = 0
        self._changes[other] += 1
    self._told = read

  def run(self) -> None:
    """Tells, reads and judges until this process has left; for a thread."""
    looks = 0
    while not self._done:
      looks += 1
      # JAX's errors have no one class. What others told stays as it was, and
      # a process that is not heard of is found by `_judge`.
      with contextlib.suppress(Exception):
        self.board.write('alive', looks)
        self._read()
        self._stop_with_others()
      self._judge()
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _left(self, index: int) -> tuple[int, str] | None:
    """Returns exit code and reason of a process, or None if it has not left."""
    left = self._told.get('left', {}).get(index)
    return None if left is None else (left[0], left[1])

  def _all_left(self) -> bool:
    return all(self._left(other) for other in self.board.others)

  def _judge(self) -> None:
    """Ends this process if another one died, or left because of an error."""
    now = time.monotonic()
    for other in self.board.others:
      self._unchanged[other] += 1
      left = self._left(other)
      if left is None:
        silent = self._unchanged[other] * _SECONDS_BETWEEN_LOOKS
        if silent > self._patience:
          died = _died(other, f'no answer for {self._patience} s')
          self.end(1, f'error: {died}')
        continue
      code, reason = left
      since = self._left_since.setdefault(other, now)
      # Without a reason it stopped in good order, and so may this process.
      if code and now - since > (0 if reason else _SECONDS_TO_STOP):
        self.end(code, f'error: {reason or f"process {other} has stopped"}')

  def on_lost(self) -> None:
    """Ends this process because the connection to process 0 broke."""
    self._lost = True
    code, reason = self._left(0) or (1, _died(0, 'the connection broke'))
    if code:
      self.end(code, f'error: {reason or "process 0 has stopped"}')

  def _stop_with_others(self) -> None:
    """Passes signals and failures on, and agrees on where to stop."""
    own, signals = interrupts.received(), self._told.get('signal', {})
    if own is not None and self.board.index not in signals:
      self.board.write('signal', own)
    for other, reason in self._told.get('failed', {}).items():
      if other != self.board.index:
        interrupts.ask(OSError(reason))
    for other, number in signals.items():
      error = interrupts.Interrupted(number)
      interrupts.ask(error, f'process {other} {error}: stopping, too')
    if signals and self._stop_at is None and not self._agreeing:
      self._agreement.acquire()
      self._agreeing = True
    calls = self._told.get('calls', {})
    if self._agreeing and self.board.index not in calls:
      self.board.write('calls', self._calls)
    if self._agreeing and len(calls) > len(self.board.others):
      self._stop_at = max(calls.values()) + 1
      self._agreeing = False
      self._agreement.release()

  def may_stop(self) -> bool:
    """Returns whether all processes stop at this call.

    All call it equally often, but some are a few calls ahead. After a signal
    they stop at the first call that none of them has passed.
    """
    with self._agreement:
      self._calls += 1
      return self._stop_at is not None and self._calls >= self._stop_at

  def confirm_others(self) -> None:
    """Returns once all others have answered; else this process ends.

    An error may only be the consequence of another process's death.
    """
    # The first change may have been on its way when the error came.
    enough = {other: self._changes[other] + 2 for other in self.board.others}
    while any(self._changes[i] < enough[i] for i in self.board.others):
      time.sleep(_SECONDS_BETWEEN_LOOKS / 5)

  def end(self, code: int, text: str) -> None:
    """Ends this process with a line on stderr, and tells the others why."""
    self._ending.acquire()  # Never released: the first reason is the one.
    interrupts.end(code, text)

  def last_words(self, code: int, text: str) -> None:
    """Tells the others why this process ends; process 0 waits for them."""
    reason = text and of_process(self.board.index, text.removeprefix('error: '))
    if not self._lost:
      self.board.write('left', (code, reason))
    until = time.monotonic() + _SECONDS_TO_READ
    while self.board.index == 0 and time.monotonic() < until:
      self._read()
      if self._all_left():
        return
      time.sleep(_SECONDS_BETWEEN_LOOKS / 5)

  def finish(self) -> None:
    """Waits until all processes have ended their work."""
    self.board.write('left', (0, ''))
    while not self._all_left():
      time.sleep(_SECONDS_BETWEEN_LOOKS / 5)
    self._done = True


# Of this process, if there are others.
current: Watch | None = None


def watch(
  patience: float, forwarder: forwarding.Forwarder | None = None
) -> None:
  """Begins to watch, once JAX has connected the processes.

  Args:
    patience: seconds without an answer after which a process counts as dead.
    forwarder: of the connection to process 0, if there is one.
  """
  global current
  board = board_lib.of_run()
  if board is None:
    terminal.notify(
      'note: with this version of JAX the processes do not tell each other '
      'about signals and errors'
    )
    return
  current = Watch(board, patience)
  interrupts.join(current.may_stop, current.last_words)
  if forwarder is not None:
    forwarder.on_lost = current.on_lost
  threading.Thread(target=current.run, daemon=True).start()


def tell_failed(message: str) -> None:
  """Tells the others about an error before all meet, if possible."""
  if current is not None:
    with contextlib.suppress(Exception):  # As in `Watch.run`.
      reason = of_process(current.board.index, message)
      current.board.write('failed', reason)
