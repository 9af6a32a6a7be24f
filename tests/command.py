"""The command in processes of its own, as users run it."""

import json
import os
import pathlib
import subprocess
import sys
import time

import chex
import jax

from peeraid_jax.training import checkpoint
from tests import helpers

ROOT = pathlib.Path(__file__).parent.parent
OVERRIDES = {
  'model.width': 4,
  'data.train_examples': 160,
  'data.validation_examples': 20,
  'attack.steps': 2,
  'train.epochs': 3,
  'train.batch_size': 16,
  'train.log_every_steps': 1,
  'train.checkpoint_every_steps': 4,
  'optimizer.student.decay_epochs': (1,),
  'optimizer.peer.decay_epochs': (1,),
  'swa.start_epoch': 1,
  'eval.attacks': ('clean', 'fgsm', 'pgd2', 'cw2'),
  'eval.select_attack': 'pgd2',
  'eval.examples': 30,
  'eval.batch_size': 32,
}
STEPS = 30


def environment(folder: pathlib.Path) -> dict[str, str]:
  """Returns the environment of a command; compiled programs lie in `folder`."""
  return {
    **os.environ,
    'XDG_CACHE_HOME': str(folder / 'cache'),
    'XLA_FLAGS': '',
    'PYTHONUNBUFFERED': '1',
  }


def arguments(workdir, *extra: str) -> list[str]:
  """Returns the command line of a run with `OVERRIDES` and further flags."""
  # A flag may be given only once.
  given = {e.removeprefix('--config.').split('=')[0] for e in extra}
  return [
    sys.executable,
    '-m',
    'peeraid_jax.main',
    '--config=configs/digits.py:student=tiny',
    f'--workdir={workdir}',
    *[f'--config.{k}={v}' for k, v in OVERRIDES.items() if k not in given],
    *extra,
  ]


class Case(chex.TestCase):
  """One whole run of a tiny network, and what others are compared with."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    cls.environment = environment(cls.folder)
    cls.whole = cls.folder / 'whole'
    cls.printed = cls.run_to_end(cls.whole)

  @classmethod
  def run_to_end(cls, workdir, *extra, code=0, env=None, limits='true'):
    """Returns what is printed; `limits` is a line of shell before it."""
    done = subprocess.run(
      ['bash', '-c', f'{limits}; exec "$@"', '', *arguments(workdir, *extra)],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
      env=env or cls.environment,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr

  def start(self, workdir, *extra):
    """Starts the command in the background."""
    return subprocess.Popen(
      arguments(workdir, *extra),
      cwd=ROOT,
      env=self.environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  def wait_for(self, process, workdir, step):
    """Waits until a step is recorded."""
    records = workdir / 'metrics.jsonl'
    while process.poll() is None:
      if records.exists() and f'"step": {step},' in records.read_text():
        break
      time.sleep(0.02)

  def run_until(self, workdir, step, number):
    """Starts the command and sends a signal once a step is recorded."""
    process = self.start(workdir)
    self.wait_for(process, workdir, step)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out

  def assert_same_run(self, workdir):
    for which in checkpoint.WHICH:
      chex.assert_trees_all_equal(
        jax.device_get(checkpoint.restore(workdir, which=which)),
        jax.device_get(checkpoint.restore(self.whole, which=which)),
      )
    results = [
      json.loads((w / 'results.json').read_text())
      for w in (workdir, self.whole)
    ]
    self.assertEqual(results[0]['roles'], results[1]['roles'])
    self.assertEqual(results[0]['transfer'], results[1]['transfer'])
    steps = [
      json.loads(line)['step']
      for line in (workdir / 'metrics.jsonl').read_text().splitlines()
    ]
    self.assertEqual(steps, sorted(steps))
    self.assertEqual(set(steps), set(range(1, STEPS + 1)))
