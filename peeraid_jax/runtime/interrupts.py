"""Orderly stop on SIGTERM, SIGHUP and Ctrl-C.

A thread receives the signals: it notices them while the main thread compiles,
or writes to a pipe that nobody reads. The first signal acts by `Mode`; a second
one ends the process at once. A signal that is ignored, such as SIGHUP under
nohup, stays ignored.
"""

import _thread
import contextlib
import enum
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from peeraid_jax.runtime import terminal

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Signals within this time count as one: launchers send some of them twice, to
# a process and to its group.
_SAME_SECONDS = 0.5
# Longest time that `_Listener.before_end` may take.
_SECONDS_BEFORE_END = 6


class Interrupted(KeyboardInterrupt):
  """A signal asked this run to stop.

  It is no `Exception`, so that no handler of errors takes it for one.

  Attributes:
    number: the signal's number.
  """

  def __init__(self, number: int):
    super().__init__(f'interrupted by {signal.Signals(number).name}')
    self.number = number


class Mode(enum.Enum):
  """What the first signal does, and what is said then."""

  # While libraries are imported, which survive no exception.
  END = 'ended'
  # While data are prepared: the main thread raises `Interrupted`.
  RAISE = 'stopping; a second signal ends the process at once'
  # While networks are trained and evaluated: only `Interrupts.check` raises.
  NOTE = (
    'stopping after the current batch, or the compilation in progress, and '
    'saving; a second signal ends the process at once'
  )


class _Listener:
  """Receives the signals of this process.

  Attributes:
    mode: what the first signal does.
    received: number of the first signal, or None.
    asked: what `check` raises, once this process should stop.
    raised: whether it was raised.
    may_stop: whether all processes of the run are at the same place.
    before_end: called with (exit code, line) before the process ends in
      another thread than the main one.
  """

  def __init__(self):
    self._previous_handlers: dict[int, Any] = {}
    self._previous_descriptor = self._write = -1
    self._mask: set[int] = set()
    # A handler may run within a handler: reentrant.
    self._lock = threading.RLock()
    # Changed by `join`.
    self.may_stop: Callable[[], bool] = lambda: True
    self.before_end: Callable[[int, str], None] = lambda code, text: None
    self._clear()

  def _clear(self) -> None:
    self.mode = Mode.END
    self.received: int | None = None
    self.asked: BaseException | None = None
    self._first_time = 0.0
    self.raised = self._is_command = False
    self._echoes = 0

  @property
  def active(self) -> bool:
    return bool(self._previous_handlers)

  def start(self, *, is_command: bool) -> None:
    """Begins to receive signals; only the main thread can.

    Args:
      is_command: a second signal ends the process; otherwise, as in a
        notebook, the handlers before get it.
    """
    if threading.current_thread() is not threading.main_thread():
      return
    self._clear()
    self._is_command = is_command
    read, self._write = os.pipe()
    os.set_blocking(self._write, False)
    self._previous_descriptor = signal.set_wakeup_fd(
      self._write, warn_on_full_buffer=False
    )
    for number in _NUMBERS:
      if signal.getsignal(number) != signal.SIG_IGN:
        self._previous_handlers[number] = signal.signal(number, self._handle)
    self._thread = threading.Thread(
      target=self._listen, args=(read,), daemon=True
    )
    self._thread.start()

  def stop(self) -> None:
    """Gives the signals back to the handlers before."""
    if not self.active:
      return
    signal.set_wakeup_fd(self._previous_descriptor)
    for number, handler in self._previous_handlers.items():
      signal.signal(number, handler)
    self._previous_handlers = {}
    # Closing it ends the thread, once it has read what is left.
    os.close(self._write)
    self._thread.join(timeout=10)
    self._clear()

  def _handle(self, number, frame) -> None:
    """Runs in the main thread, as soon as that runs Python code."""
    if self.mode == Mode.RAISE and not self.raised:
      with self._lock:
        if self.asked is None:
          # The listener hears of this signal, too, and may come later.
          self._echoes += 1
          self._receive_first(number)
      self.raise_asked()
    elif self._is_second() and not self._is_command:
      signal.signal(number, self._previous_handlers[number])
      signal.raise_signal(number)

  def _is_second(self) -> bool:
    since = time.monotonic() - self._first_time
    return self.received is not None and since > _SAME_SECONDS

  def raise_asked(self) -> None:
    """Raises what was asked for, if anything was."""
    if self.asked is not None:
      self.raised = True
      raise self.asked

  def _listen(self, read: int) -> None:
    """Runs in a thread of its own: takes the numbers that Python writes."""
    with open(read, 'rb', buffering=0) as numbers:
      while number := numbers.read(1):
        if number[0] in self._previous_handlers:
          self._receive(number[0])

  def _receive(self, number: int) -> None:
    with self._lock:
      if self._echoes:
        self._echoes -= 1
      elif self.received is None:
        self._receive_first(number)
      elif self._is_second() and self._is_command:
        name = signal.Signals(number).name
        self.end(128 + number, f'{name} received again: ended at once')

  def _receive_first(self, number: int) -> None:
    text = f'{signal.Signals(number).name} received: {self.mode.value}'
    self.received, self._first_time = number, time.monotonic()
    if self.mode == Mode.END:
      self.end(128 + number, text)
    self.asked = self.asked or Interrupted(number)
    terminal.notify(text)

  def end(self, code: int, text: str) -> None:
    """Ends the process from any thread, with a line unless it is empty."""
    if text:
      terminal.notify(text)
    # It may hang with the network.
    call = threading.Thread(
      target=self.before_end, args=(code, text), daemon=True
    )
    call.start()
    call.join(timeout=_SECONDS_BEFORE_END)
    os._exit(code)

  def ask(self, error: BaseException, text: str = '') -> None:
    """Lets `check` raise an error, with a line for stderr; from any thread."""
    if self.asked is not None:
      return
    self.asked = error
    if text:
      terminal.notify(text)
    if isinstance(error, Interrupted) and self.mode == Mode.RAISE:
      # Python tells the listener as of a signal from outside.
      self._echoes += 1
      _thread.interrupt_main(error.number)

  def before_fork(self) -> None:
    """Holds signals back until a forked process has handlers of its own."""
    self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)

  def after_fork(self) -> None:
    """In this process: goes on to receive signals."""
    signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

  def forget(self) -> None:
    """In the forked process: its signals are not those of this one."""
    with contextlib.suppress(ValueError, OSError):
      self.stop()
    self.after_fork()


_listener = _Listener()
os.register_at_fork(
  before=_listener.before_fork,
  after_in_parent=_listener.after_fork,
  after_in_child=_listener.forget,
)

ask, end = _listener.ask, _listener.end


def received() -> int | None:
  """Returns the number of the signal that this process received, or None."""
  return _listener.received


def join(
  may_stop: Callable[[], bool], before_end: Callable[[int, str], None]
) -> None:
  """Makes this process stop together with the others of its run.

  Args:
    may_stop: called by `Interrupts.check_together`; whether all processes stop
      at this call.
    before_end: called with (exit code, line) before a signal ends the process
      without its main thread.
  """
  _listener.may_stop, _listener.before_end = may_stop, before_end


def start() -> None:
  """Lets the first signal end this command; to be called at its beginning."""
  if not _listener.active:
    _listener.start(is_command=True)


@contextlib.contextmanager
def raising() -> Iterator[None]:
  """Context in which the first signal raises `Interrupted`, wherever it is."""
  previous, _listener.mode = _listener.mode, Mode.RAISE
  try:
    if not _listener.raised:
      _listener.raise_asked()
    yield
  finally:
    _listener.mode = previous


class Interrupts:
  """Context in which the first signal is only noted, and `check` raises."""

  def __enter__(self):
    self._started = not _listener.active
    if self._started:
      _listener.start(is_command=False)
    self._previous, _listener.mode = _listener.mode, Mode.NOTE
    return self

  def __exit__(self, kind, *unused):
    _listener.mode = self._previous
    if self._started:
      # A signal after the last check is still to be raised.
      missed = None if _listener.raised else _listener.asked
      _listener.stop()
      if kind is None and missed is not None:
        raise missed
    elif kind is None and self._previous == Mode.RAISE and not _listener.raised:
      _listener.raise_asked()

  def check(self, *unused) -> None:
    """Raises `Interrupted` if a signal arrived, in any process of the run.

    With several processes it belongs into the work of `processes.together`,
    because they raise at different places. It raises OSError if another one
    failed in the same work.
    """
    _listener.raise_asked()

  def check_together(self) -> None:
    """Raises `Interrupted` at the same call in all processes.

    All of them must call it equally often.
    """
    if _listener.may_stop():
      _listener.raise_asked()
