"""The first signal sets a flag, and the old handlers come back."""

import contextlib
import io
import signal

from absl.testing import absltest

from peeraid_jax.runtime import interrupts


class InterruptsTest(absltest.TestCase):
  def test_the_first_signal_is_raised_by_check(self):
    before = signal.getsignal(signal.SIGTERM)
    with interrupts.Interrupts() as signals:
      signals.check()
      signals.check_together()
      with contextlib.redirect_stdout(io.StringIO()) as printed:
        signal.raise_signal(signal.SIGTERM)
      self.assertIn('SIGTERM received', printed.getvalue())
      # A second signal has its usual effect.
      self.assertIs(signal.getsignal(signal.SIGTERM), before)
      for check in (signals.check, signals.check_together):
        with self.assertRaisesRegex(interrupts.Interrupted, 'SIGTERM') as got:
          check()
        self.assertEqual(got.exception.number, signal.SIGTERM)

  def test_the_old_handlers_come_back_at_the_end(self):
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    with interrupts.Interrupts():
      for number, handler in zip(numbers, before, strict=True):
        self.assertIsNot(signal.getsignal(number), handler)
    self.assertEqual([signal.getsignal(number) for number in numbers], before)


if __name__ == '__main__':
  absltest.main()
