"""What the first signal does in each mode, and who gets the next ones."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.runtime import interrupts


@contextlib.contextmanager
def _stderr():
  """Yields a function that returns what was written to descriptor 2."""
  with tempfile.TemporaryFile() as file:
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    read = lambda: os.pread(file.fileno(), 10_000, 0).decode()

    try:
      yield read
    finally:
      os.dup2(before, 2)
      os.close(before)


def _wait_until(condition):
  until = time.monotonic() + 60
  while not condition():
    if time.monotonic() > until:
      raise AssertionError('waited in vain')
    time.sleep(0.005)


class InterruptsTest(parameterized.TestCase):
  @parameterized.parameters(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
  def test_the_first_signal_is_raised_by_check(self, number):
    name = signal.Signals(number).name
    with _stderr() as printed, interrupts.Interrupts() as signals:
      signals.check()
      signals.check_together()
      signal.raise_signal(number)
      _wait_until(lambda: f'{name} received: stopping after' in printed())
      self.assertEqual(interrupts.received(), number)
      for check in (signals.check, signals.check_together):
        with self.assertRaisesRegex(interrupts.Interrupted, name) as got:
          check()
        self.assertEqual(got.exception.number, number)
      # Launchers send some signals twice at once.
      with mock.patch.object(interrupts, '_SAME_SECONDS', 60):
        signal.raise_signal(number)
        time.sleep(0.1)
    with interrupts.Interrupts() as signals:
      signals.check()

  def test_the_old_handlers_come_back_at_the_end(self):
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with interrupts.Interrupts():
      for number, handler in zip(numbers, before, strict=True):
        self.assertIsNot(signal.getsignal(number), handler)
    self.assertEqual([signal.getsignal(number) for number in numbers], before)

  def test_a_signal_that_is_ignored_stays_ignored(self):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    self.addCleanup(signal.signal, signal.SIGHUP, before)
    with interrupts.Interrupts() as signals:
      self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
      signal.raise_signal(signal.SIGHUP)
      signals.check()

  def test_raised_at_once_while_nothing_is_to_be_saved(self):
    with _stderr(), interrupts.Interrupts(), interrupts.raising():
      with self.assertRaises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)

  def test_no_handler_of_errors_catches_it(self):
    self.assertNotIsInstance(interrupts.Interrupted(15), Exception)

  def test_a_signal_after_the_last_check_is_not_lost(self):
    with _stderr(), interrupts.Interrupts():
      with self.assertRaises(interrupts.Interrupted):
        with interrupts.raising(), interrupts.Interrupts():
          signal.raise_signal(signal.SIGTERM)
          _wait_until(interrupts.received)

  def test_nor_outside_of_a_command(self):
    with _stderr(), self.assertRaises(interrupts.Interrupted):
      with interrupts.Interrupts():
        signal.raise_signal(signal.SIGTERM)
        _wait_until(interrupts.received)

  def test_a_second_signal_outside_of_a_command(self):
    """It does what it did before: a notebook keeps its variables."""
    with _stderr(), self.assertRaises(KeyboardInterrupt) as got:
      with interrupts.Interrupts():
        signal.raise_signal(signal.SIGINT)
        _wait_until(interrupts.received)
        time.sleep(1.1 * interrupts._SAME_SECONDS)
        signal.raise_signal(signal.SIGINT)
    self.assertNotIsInstance(got.exception, interrupts.Interrupted)

  def test_what_another_process_asks_for_is_no_signal(self):
    with _stderr() as printed, interrupts.Interrupts():
      with interrupts.raising(), self.assertRaises(interrupts.Interrupted):
        interrupts.ask(interrupts.Interrupted(signal.SIGTERM), 'stopping, too')
        time.sleep(60)
      time.sleep(0.1)
      self.assertIsNone(interrupts.received())
      self.assertEqual(printed(), 'stopping, too\n')

  def test_asked_by_another_process(self):
    with _stderr() as printed, interrupts.Interrupts() as signals:
      interrupts.ask(OSError('process 1: its disk'), 'stopping')
      self.assertEqual(printed(), 'stopping\n')
      with self.assertRaisesRegex(OSError, 'process 1: its disk'):
        signals.check()

  def test_elsewhere_than_in_the_main_thread(self):
    failed = []

    def work():
      try:
        with interrupts.Interrupts() as signals:
          signals.check()
      except Exception as error:
        failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    self.assertEmpty(failed)

  def test_the_signals_of_a_forked_process_are_its_own(self):
    code = """
import os, signal, time
from peeraid_jax.runtime import interrupts
with interrupts.Interrupts() as signals:
  child = os.fork()
  if not child:
    time.sleep(60)
    os._exit(0)
  os.kill(child, signal.SIGTERM)
  _, status = os.waitpid(child, 0)
  assert os.WTERMSIG(status) == signal.SIGTERM, status
  time.sleep(0.2)
  signals.check()
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=90)

  @parameterized.parameters(
    # Where the process is at the first signal; the number of signals.
    ('interrupts.start()', 1, 'SIGTERM received: ended\n'),
    (
      'interrupts.start(); interrupts.Interrupts().__enter__()',
      2,
      'SIGTERM received again: ended at once\n',
    ),
  )
  def test_ended_while_output_is_blocked(self, begin, signals, printed):
    code = f"""
import os
from peeraid_jax.runtime import interrupts
{begin}
os.write(2, b'ready\\n')
while True:
  os.write(1, b'x' * 4096)
"""
    with subprocess.Popen(
      [sys.executable, '-c', code],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    ) as process:
      self.addCleanup(process.kill)
      process.stderr.readline()
      line = ''
      for index in range(signals):
        # Two signals within half a second count as one.
        time.sleep(0.6 * index)
        process.send_signal(signal.SIGTERM)
        line = process.stderr.readline()
      self.assertEqual(line, printed)
      self.assertEqual(process.wait(60), 128 + signal.SIGTERM)


if __name__ == '__main__':
  absltest.main()
