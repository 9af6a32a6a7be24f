"""Faults, injected: nothing that was saved is lost, and it is said what to do.

Every run that goes on after a fault ends with the bits of one that met none.
"""

import json
import pathlib
import random
import signal
import time

import pytest
from absl.testing import absltest

from peeraid_jax.training import checkpoint
from tests import command

# A clock that runs backwards, by a minute at every look.
_BACKWARDS = """
import time
now = [time.time()]
def earlier():
  now[0] -= 60
  return now[0]
time.time = earlier
time.time_ns = lambda: int(earlier() * 1e9)
"""


def _damage(folder: pathlib.Path) -> None:
  """Flips a bit in every larger file."""
  for path in folder.rglob('*'):
    if path.is_file() and path.stat().st_size > 1000:
      content = bytearray(path.read_bytes())
      content[len(content) // 2] ^= 1
      path.write_bytes(content)


class FaultsTest(command.Case):
  def _stopped(self, name: str) -> pathlib.Path:
    """A run that was stopped in the middle, with two checkpoints."""
    workdir = self.folder / name
    code, out = self.run_until(workdir, 13, signal.SIGTERM)
    self.assertEqual(code, 128 + signal.SIGTERM, out)
    return workdir

  @pytest.mark.fault('damaged files', count=2)
  def test_damaged_checkpoints(self):
    workdir = self._stopped('damaged')
    latest = workdir / 'checkpoints' / 'latest'
    newest, before = checkpoint.latest_step(workdir), None
    steps = sorted(int(path.name) for path in latest.iterdir())
    before = steps[-2]
    _damage(latest / str(newest))
    out = self.run_to_end(workdir)
    self.assertIn(f'Going on from step {before}', out)
    self.assertIn(f'resuming from step {before}', out)
    self.assert_same_run(workdir)
    with self.subTest('none is left'):
      for path in (workdir / 'checkpoints').glob('*/*'):
        _damage(path)
      out = self.run_to_end(workdir, code=1)
      self.assertIn('no checkpoint is left to go on from', out)
      self.assertNotIn('Traceback', out)
      self.assertNotEmpty(list(latest.iterdir()))

  @pytest.mark.fault('processes')
  def test_two_runs_in_one_work_directory(self):
    workdir = self.folder / 'shared'
    first = self.start(workdir)
    self.wait_for(first, workdir, 2)
    # The first one must not end while the second one starts.
    first.send_signal(signal.SIGSTOP)
    out = self.run_to_end(workdir, code=1)
    first.send_signal(signal.SIGCONT)
    self.assertIn(f'{workdir} is in use by process {first.pid} on', out)
    self.assertIn('name another folder with --workdir=DIR', out)
    out, _ = first.communicate(timeout=300)
    self.assertEqual(first.returncode, 0, out)
    self.assert_same_run(workdir)

  @pytest.mark.fault('disk')
  def test_full_disk(self):
    workdir = self._stopped('full')
    saved = checkpoint.latest_step(workdir)
    # Files of a checkpoint are larger than 30 KiB, and nothing else is.
    out = self.run_to_end(workdir, code=1, limits='ulimit -f 30')
    # Orbax's threads narrate before it.
    last = out.strip().splitlines()[-1]
    self.assertRegex(last, r'error: step \d+ cannot be saved in .*disk full')
    self.assertEqual(checkpoint.latest_step(workdir), saved)
    self.run_to_end(workdir)
    self.assert_same_run(workdir)

  @pytest.mark.fault('environment')
  def test_clock_that_runs_backwards(self):
    folder = self.folder / 'clock'
    folder.mkdir()
    (folder / 'sitecustomize.py').write_text(_BACKWARDS)
    workdir = self.folder / 'backwards'
    self.run_to_end(
      workdir, env={**self.environment, 'PYTHONPATH': str(folder)}
    )
    self.assert_same_run(workdir)

  @pytest.mark.fault('divergence')
  def test_numbers_that_are_none(self):
    workdir = self.folder / 'infinite'
    out = self.run_to_end(
      workdir, '--config.optimizer.student.learning_rate=1e30', code=1
    )
    self.assertRegex(out, r'error: step \d+: .*not finite')
    self.assertIn('try a smaller learning rate', out)
    self.assertNotIn('Traceback', out)
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    for line in lines:
      json.loads(line)

  @pytest.mark.fault('disk', count=3)
  def test_places_that_cannot_be_written(self):
    occupied = self.folder / 'occupied'
    occupied.write_text('a file')
    for workdir in (pathlib.Path('/proc/none'), occupied, occupied / 'in'):
      out = self.run_to_end(workdir, code=1)
      self.assertIn('error: ', out)
      self.assertIn(str(workdir), out)
      self.assertNotIn('Traceback', out)

  @pytest.mark.fault('kills', count=20)
  def test_killed_at_twenty_moments(self):
    """At random, and each second time while a checkpoint is written."""
    draw = random.Random(0)
    workdir = self.folder / 'often'
    # With a checkpoint after every step, about half of the time is saving.
    often = ('--config.train.checkpoint_every_steps=1',)
    begun = time.monotonic()
    self.run_to_end(self.folder / 'timed', *often)
    duration = time.monotonic() - begun
    killed = during_save = 0
    while killed < 20:
      process = self.start(workdir, *often)
      latest = workdir / 'checkpoints' / 'latest'
      if killed % 2:
        until = time.monotonic() + draw.uniform(0.5, 1) * duration
        while process.poll() is None and time.monotonic() < until:
          time.sleep(0.001)
          if list(latest.glob('*tmp*')) and draw.random() < 0.1:
            during_save += 1
            break
      else:
        time.sleep(draw.uniform(0.2, 0.9) * duration)
      process.kill()
      process.communicate()
      killed += 1
      if process.returncode == 0:
        # It came to its end; the next one begins anew.
        self.assert_same_run(workdir)
        workdir = self.folder / f'often_{killed}'
    self.run_to_end(workdir, *often)
    self.assert_same_run(workdir)
    self.assertGreater(during_save, 2)


if __name__ == '__main__':
  absltest.main()
