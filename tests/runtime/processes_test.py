"""Two real processes on this machine train, stop and resume as one does."""

import contextlib
import json
import signal
import socket
import time
from unittest import mock

import jax
import numpy as np
import pytest
from absl.testing import absltest

from peeraid_jax.runtime import processes
from peeraid_jax.training import checkpoint
from tests import command


def _free_port() -> int:
  with contextlib.closing(socket.socket()) as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


@pytest.mark.slow
class ProcessesTest(command.Case):
  def start_all(self, workdir, *extra, each=((), ()), processes=2):
    """Starts the command once per process; `each` adds flags to one of them."""
    port = _free_port()
    return [
      self.start(
        workdir,
        f'--config.distributed.coordinator=127.0.0.1:{port}',
        f'--config.distributed.processes={processes}',
        f'--config.distributed.process={index}',
        '--config.distributed.timeout_seconds=60',
        *extra,
        *each[index],
      )
      for index in range(processes)
    ]

  def finish(self, started, code=0):
    """Waits for all processes; returns the output of each."""
    printed = [process.communicate(timeout=300)[0] for process in started]
    codes = [process.returncode for process in started]
    self.assertEqual(codes, [code] * len(started), '\n'.join(printed))
    return printed

  def assert_like_one(self, workdir):
    """Compares with a run of one process; steps amplify rounding errors."""
    for which in ('latest', 'best_swa'):
      one = checkpoint.restore(self.whole, which=which)
      two = checkpoint.restore(workdir, which=which)
      self.assertEqual(int(one.step), int(two.step))
    params = [
      jax.tree.leaves(jax.device_get(checkpoint.restore(w).nets))
      for w in (self.whole, workdir)
    ]
    for a, b in zip(*params, strict=True):
      np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02)
    results = [
      json.loads((w / 'results.json').read_text())['roles']
      for w in (self.whole, workdir)
    ]
    for role, values in results[0].items():
      for attack, value in values.items():
        other = results[1][role][attack]
        self.assertEqual(other['n'], value['n'])
        # Two of 30 images.
        self.assertAlmostEqual(
          other['accuracy'], value['accuracy'], delta=2.1 / 30
        )

  def test_killed_and_resumed_as_two_and_as_one(self):
    workdir = self.folder / 'two'
    started = self.start_all(workdir)
    self.wait_for(started[0], workdir, 9)
    for process in started:
      process.kill()
      process.communicate()
    saved = checkpoint.latest_step(workdir)
    self.assertGreaterEqual(saved, 8)
    started = self.start_all(workdir)
    self.wait_for(started[0], workdir, saved + 4)
    started[1].send_signal(signal.SIGTERM)
    first, second = self.finish(started, code=128 + signal.SIGTERM)
    self.assertIn(f'resuming from step {saved}', first)
    self.assertIn('the same command goes on', first)
    # Only process 0 prints it.
    self.assertNotIn('resuming', second)
    out = self.run_to_end(workdir)
    self.assertIn('resuming from step', out)
    self.assert_like_one(workdir)
    with self.subTest('evaluated by two'):
      before = json.loads((workdir / 'results.json').read_text())
      extra = (
        '--mode=evaluate',
        "--config.eval.attacks=('clean','fgsm','pgd2','cw2','apgd_ce')",
        "--config.eval.roles=('student',)",
      )
      self.finish(self.start_all(workdir, *extra))
      after = json.loads((workdir / 'results.json').read_text())
      self.assertEqual(after['roles']['student'], before['roles']['student'])
      report = after['autoattack']['student']['apgd_ce']
      self.assertEqual(sum(report['counts'].values()), 30)
      self.run_to_end(workdir, *extra)
      alone = json.loads((workdir / 'results.json').read_text())
      alone = alone['autoattack']['student']['apgd_ce']
      for name in ('counts', 'accuracy_after', 'clean_accuracy'):
        self.assertEqual(report[name], alone[name])

  def test_two_from_the_start(self):
    workdir = self.folder / 'from_the_start'
    self.finish(self.start_all(workdir))
    self.assert_like_one(workdir)
    one, two = (
      [
        json.loads(line)
        for line in (w / 'metrics.jsonl').read_text().splitlines()
      ]
      for w in (self.whole, workdir)
    )
    self.assertEqual([r['step'] for r in two], [r['step'] for r in one])
    # Rounding differs from the first sum on, and grows with the steps.
    for a, b in zip(one[:3], two[:3], strict=True):
      self.assertAlmostEqual(a['loss'], b['loss'], delta=1e-3)

  def test_disagreement(self):
    workdir = self.folder / 'disagree'
    started = self.start_all(workdir, each=((), ('--config.seed=1',)))
    for printed in self.finish(started, code=1):
      self.assertIn('seed: 0 in process 0, 1 in process 1', printed)
      self.assertIn('Give every one the same command', printed)
    self.assertFalse(workdir.exists())

  def test_an_error_in_one_process_ends_all(self):
    started = self.start_all(
      self.folder / 'wrong',
      each=((), ('--config.eval.corruptions=/none',)),
    )
    # All processes must have the same config.
    for printed in self.finish(started, code=1):
      self.assertIn("eval.corruptions: '' in process 0", printed)
    started = self.start_all(
      self.folder / 'uneven', '--config.train.batch_size=15'
    )
    for printed in self.finish(started, code=1):
      self.assertIn('train.batch_size=15 does not divide over 2', printed)

  def test_processes_that_never_arrive(self):
    for index, expected in ((1, 'process 1 of 2 did not'), (0, 'all 2')):
      start = time.monotonic()
      out = self.run_to_end(
        self.folder / 'alone',
        f'--config.distributed.coordinator=127.0.0.1:{_free_port()}',
        '--config.distributed.processes=2',
        f'--config.distributed.process={index}',
        '--config.distributed.timeout_seconds=5',
        code=1,
      )
      self.assertLess(time.monotonic() - start, 60)
      self.assertIn(expected, out)


class EnvironmentTest(absltest.TestCase):
  def test_variables_that_announce_several_processes(self):
    for variables, expected in (
      ({}, ''),
      ({'SLURM_STEP_NUM_TASKS': '4'}, 'SLURM_STEP_NUM_TASKS'),
      ({'SLURM_STEP_NUM_TASKS': '1', 'SLURM_NTASKS': '4'}, ''),
      ({'TPU_WORKER_HOSTNAMES': 'a,b'}, 'TPU_WORKER_HOSTNAMES'),
      ({'TPU_WORKER_HOSTNAMES': 'a'}, ''),
      ({'JAX_COORDINATOR_ADDRESS': 'a:1'}, 'JAX_COORDINATOR_ADDRESS'),
    ):
      with mock.patch.dict('os.environ', variables, clear=True):
        self.assertEqual(processes._environment(), expected)

  def test_bad_settings(self):
    from peeraid_jax import config as config_lib

    for changes, message in (
      ({'coordinator': 'host'}, "'host' should be HOST:PORT"),
      (
        {'coordinator': 'h:1', 'processes': 2, 'process': 2},
        r'process=2 should be in \[0, 1\]',
      ),
      ({'mode': 'maybe'}, "'auto', 'on', 'off'"),
    ):
      settings = config_lib.base().distributed
      settings.update(changes)
      with self.assertRaisesRegex(ValueError, message):
        processes.start(settings)


if __name__ == '__main__':
  absltest.main()
