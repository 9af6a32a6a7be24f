"""A process that dies, fails or is stopped ends the others, and says why.

Each run has two processes on this machine, with a tiny network.
"""

import signal
import time

import pytest
from absl.testing import absltest, parameterized

from peeraid_jax.training import checkpoint
from tests import background

# A tiny training that takes longer than any test.
_ENDLESS = ('--config.train.epochs=1000', '--config.train.log_every_steps=1')
_SHORT = (
  '--config.train.epochs=1',
  '--config.swa.enabled=False',
  "--config.eval.roles=('student',)",
)


class SignalTest(background.Case):
  @pytest.mark.fault('signals', count=2)
  def test_all_stop_at_the_same_step_and_save(self):
    """In training, whichever process the signal reaches, and go on later."""
    workdir = self.folder / 'training'
    # Not at steps that are recorded, which may be far apart.
    settings = ('--config.train.epochs=1000',)
    settings += ('--config.train.log_every_steps=100000',)
    settings += ('--config.eval.every_epochs=1000',)
    for number, signalled in ((signal.SIGTERM, 1), (signal.SIGINT, 0)):
      started = self.start(workdir, *settings)
      latest = workdir / 'checkpoints' / 'latest'
      before = checkpoint.latest_step(workdir) or 0
      until = time.monotonic() + background.SECONDS
      while (checkpoint.latest_step(workdir) or 0) <= before:
        self.assertLess(time.monotonic(), until, started[0].printed)
        time.sleep(0.05)
      sent = time.monotonic()
      started[signalled].process.send_signal(number)
      name = signal.Signals(number).name
      for index, process in enumerate(started):
        text = f'{name} received: stopping after the current batch'
        if index != signalled:
          text = f'process {signalled} interrupted by {name}'
        self.assert_ended(process, 128 + number, text)
      # Training steps take milliseconds.
      self.assertLess(time.monotonic() - sent, 30)
      self.assertIn('the same command goes on', started[0].printed)
      self.assertNotEmpty(list(latest.iterdir()))

  @parameterized.parameters(
    # Attacks of many steps, so that the evaluation does not end by itself.
    ("('clean','pgd200','pgd201','pgd202','pgd203')", ': clean on 15'),
    ("('clean','autoattack')", 'clean, 0/15 points'),
  )
  @pytest.mark.fault('signals')
  def test_final_evaluations(self, attacks, text):
    workdir = self.folder / f'final {len(attacks)}'
    started = self.start(workdir, *_SHORT, f'--config.eval.attacks={attacks}')
    started[0].wait_for(text)
    started[1].process.send_signal(signal.SIGTERM)
    for process in started:
      self.assert_ended(process, 128 + signal.SIGTERM)
    self.assertIn('process 1 interrupted by SIGTERM', started[0].printed)
    self.assertNotIn('next:', started[0].printed)

  @pytest.mark.fault('signals')
  def test_selection(self):
    """The evaluation at the end of an epoch is not waited for."""
    workdir = self.folder / 'selection'
    started = self.start(
      workdir,
      *_SHORT,
      '--config.eval.select_attack=pgd100000',
      '--config.eval.batch_size=2',
    )
    started[0].wait_for('step 10/10')
    started[1].process.send_signal(signal.SIGTERM)
    for process in started:
      self.assert_ended(process, 128 + signal.SIGTERM)
    self.assertIn('saved at step 10 of 10', started[0].printed)


class DeathTest(background.Case):
  @parameterized.parameters(0, 1)
  @pytest.mark.fault('processes')
  def test_a_killed_process_is_named(self, killed):
    started = self.start(self.folder / f'killed {killed}', *_ENDLESS)
    started[0].wait_for('step 9/')
    started[killed].process.kill()
    died = time.monotonic()
    self.assert_ended(
      started[1 - killed], 1, f'error: process {killed} died, or its machine'
    )
    self.assertLess(time.monotonic() - died, 110)

  @pytest.mark.fault('processes')
  def test_one_of_three(self):
    started = self.start(
      self.folder / 'three', *_ENDLESS, '--config.train.batch_size=15', count=3
    )
    started[0].wait_for('step 5/')
    started[2].process.kill()
    for process in started[:2]:
      self.assert_ended(process, 1, 'error: process 2 died, or its machine')


class FailureTest(background.Case):
  @parameterized.parameters(
    # At the start, in training, and in an evaluation.
    ('peeraid_jax.config.dataset', 'splits', 1, "raise OSError('disk of 1')"),
    (
      'peeraid_jax.training.feed',
      'feed',
      2,
      "raise ValueError('picture of 1')",
    ),
    ('peeraid_jax.data.batches', 'read', 3, "raise ValueError('picture of 1')"),
    ('peeraid_jax.training.feed', 'feed', 2, "raise RuntimeError('bug of 1')"),
  )
  @pytest.mark.fault('processes')
  def test_the_error_of_one_process_reaches_the_other(
    self, module, name, call, fault
  ):
    workdir = self.folder / f'{name} {fault[6:9]}'
    settings = {'module': module, 'name': name, 'call': call, 'fault': fault}
    started = self.start(workdir, *_ENDLESS, faults=((1, settings),))
    message = fault.partition("'")[2].rstrip("')")
    for process in started:
      self.assertEqual(process.end(), 1, process.printed)
      last = process.printed.strip().splitlines()[-1]
      self.assertStartsWith(last, 'error: ')
      self.assertIn(message, last)
      # The traceback of a mistake of the program is shown where it happened.
      traceback = 'bug' in fault and process is started[1]
      self.assertEqual('Traceback' in process.printed, traceback)
    self.assertIn('process 1: ', started[0].printed)


if __name__ == '__main__':
  absltest.main()
