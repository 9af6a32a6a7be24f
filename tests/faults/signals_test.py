"""Signals, closed output and blocked output, in a run of one process."""

import fcntl
import os
import signal
import time

import pytest
from absl.testing import absltest, parameterized

from peeraid_jax.training import checkpoint
from tests import background

# Runs the command, which sends itself a signal when it imports a module.
_AT_IMPORT = """
import os, runpy, sys, time
class Finder:
  def find_spec(self, name, path=None, target=None):
    if name == '{module}':
      os.kill(os.getpid(), {number})
      time.sleep(60)
sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
runpy.run_module('peeraid_jax.main', run_name='__main__', alter_sys=True)
"""
_ENDLESS = ('--config.train.epochs=1000', '--config.train.log_every_steps=1')
_SHORT = (
  '--config.train.epochs=1',
  '--config.swa.enabled=False',
  "--config.eval.attacks=('clean',)",
)


class SignalsTest(background.Case):
  @parameterized.parameters(
    ('ml_collections', signal.SIGINT),
    ('jax', signal.SIGINT),
    ('orbax', signal.SIGTERM),
    ('flax', signal.SIGHUP),
  )
  @pytest.mark.fault('signals')
  def test_while_it_starts(self, module, number):
    code = _AT_IMPORT.format(module=module, number=int(number))
    process = self.start_one(self.folder / 'never', code=code)
    self.assert_ended(process, 128 + number)
    name = signal.Signals(number).name
    self.assertEqual(process.printed, f'{name} received: ended\n')

  @pytest.mark.fault('signals')
  def test_while_data_are_prepared(self):
    code = background.WITH_FAULT.format(
      module='peeraid_jax.config.dataset',
      name='splits',
      call=1,
      fault='__import__("time").sleep(60)',
    ).replace('calls == 1:', 'calls == 1:\n    print("preparing", flush=True)')
    process = self.start_one(self.folder / 'data', code=code)
    process.wait_for('preparing')
    sent = time.monotonic()
    process.process.send_signal(signal.SIGINT)
    self.assert_ended(process, 130, 'SIGINT received: stopping')
    self.assertLess(time.monotonic() - sent, 30)

  @pytest.mark.fault('signals')
  def test_while_the_step_is_compiled(self):
    workdir = self.folder / 'compiled'
    code = background.WITH_FAULT.format(
      module='peeraid_jax.training.feed',
      name='feed',
      call=1,
      fault=f'__import__("os").kill(0, {int(signal.SIGTERM)})',
    )
    # A group of its own.
    code = 'import os; os.setpgid(0, 0)\n' + code
    process = self.start_one(workdir, code=code)
    self.assert_ended(process, 143, 'or the compilation in progress')
    self.assertIn('saved at step 1 of', process.printed)
    self.assertEqual(checkpoint.latest_step(workdir), 1)

  @pytest.mark.fault('signals')
  def test_the_terminal_is_closed(self):
    workdir = self.folder / 'terminal'
    process = self.start_one(workdir, *_ENDLESS)
    process.wait_for('step 5/')
    process.process.send_signal(signal.SIGHUP)
    self.assert_ended(process, 129, 'SIGHUP received: stopping after')
    self.assertGreaterEqual(checkpoint.latest_step(workdir), 5)

  @pytest.mark.fault('signals')
  def test_the_terminal_is_closed_under_nohup(self):
    workdir = self.folder / 'nohup'
    code = background.WITH_FAULT.format(
      module='peeraid_jax.training.feed',
      name='feed',
      call=1,
      fault=f'__import__("os").kill(os.getpid(), {int(signal.SIGHUP)})',
    )
    code = f'import os, signal; signal.signal({int(signal.SIGHUP)}, 1)\n' + code
    process = self.start_one(workdir, *_SHORT, code=code)
    self.assert_ended(process, 0)
    self.assertTrue((workdir / 'results.json').exists())


class OutputTest(background.Case):
  @pytest.mark.fault('output')
  def test_the_reader_leaves(self):
    """As `| head -1` does."""
    workdir = self.folder / 'head'
    read, write = os.pipe()
    process = self.start_one(workdir, *_SHORT, stdout=write)
    os.close(write)
    with open(read) as lines:
      self.assertIn('work directory', lines.readline())
    self.assert_ended(process, 0, 'cannot be written (Broken pipe)')
    self.assertTrue((workdir / 'results.json').exists())

  @pytest.mark.fault('output')
  def test_the_disk_of_the_output_is_full(self):
    workdir = self.folder / 'full'
    with open('/dev/full', 'w') as full:
      process = self.start_one(workdir, *_SHORT, stdout=full)
    self.assert_ended(process, 0, 'No space left on device')
    self.assertTrue((workdir / 'results.json').exists())

  @pytest.mark.fault('output')
  def test_nobody_reads_the_output(self):
    """The first signal waits for the output, and the second one does not."""
    read, write = os.pipe()
    self.addCleanup(os.close, read)
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    # All but what the first lines need.
    os.write(write, b' ' * (size - 1000))
    os.set_blocking(write, True)
    workdir = self.folder / 'blocked'
    process = self.start_one(workdir, *_ENDLESS, stdout=write)
    os.close(write)
    records = workdir / 'metrics.jsonl'
    until = time.monotonic() + background.SECONDS
    # Blocked once the records grow no more.
    grown, last = time.monotonic(), -1
    while time.monotonic() - grown < 3 or last <= 0:
      self.assertLess(time.monotonic(), until)
      size = records.stat().st_size if records.exists() else 0
      if size != last:
        grown, last = time.monotonic(), size
      time.sleep(0.05)
    process.process.send_signal(signal.SIGTERM)
    process.wait_for('SIGTERM received: stopping')
    time.sleep(0.6)  # Two signals within half a second count as one.
    process.process.send_signal(signal.SIGTERM)
    self.assert_ended(process, 143, 'received again: ended at once')


if __name__ == '__main__':
  absltest.main()
