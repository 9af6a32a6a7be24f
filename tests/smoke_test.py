"""The whole command: train, kill, resume, evaluate, refuse."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import numpy as np
import pytest
from absl.testing import absltest

from peeraid_jax import data, torch_io
from peeraid_jax.training import checkpoint
from tests import command
from tests.command import OVERRIDES, ROOT


class CommandTest(command.Case):
  def test_what_a_run_leaves(self):
    found = json.loads((self.whole / 'results.json').read_text())
    self.assertEqual(set(found['roles']), {'student', 'student_swa', 'peer'})
    for values in found['roles'].values():
      self.assertEqual(set(values), {'clean', 'fgsm', 'pgd2', 'cw2'})
      self.assertEqual({v['n'] for v in values.values()}, {30})
    self.assertEqual(
      set(found['transfer']),
      {f'peer_on_student_{a}' for a in ('fgsm', 'pgd2', 'cw2')},
    )
    self.assertEqual(found['config']['model']['student'], 'tiny')
    self.assertEqual(found['selection']['on'], 'validation')
    self.assertLen(found['history'], 3)
    for name in ('commit', 'device', 'versions', 'seed'):
      self.assertIn(name, found)
    self.assertNotEmpty(list((self.whole / 'tensorboard').iterdir()))
    self.assertIn('student_swa', self.printed)
    self.assertIn('next:', self.printed)
    # What is printed has the overrides, without which it would be refused.
    self.assertIn('--config.model.width=4', self.printed)
    self.assertIn('results.json', self.printed)

  @pytest.mark.slow
  def test_a_second_run_compiles_nothing(self):
    kept = lambda: set((self.folder / 'cache/peeraid_jax').glob('*/*-cache'))
    before = kept()
    self.assertTrue([p for p in before if p.name.startswith('jit__fun')])
    self.run_to_end(self.folder / 'again')
    self.assertEqual(kept(), before)
    self.assert_same_run(self.folder / 'again')

  @pytest.mark.slow
  def test_kept_programs_that_are_broken(self):
    cache = self.folder / 'broken'
    shutil.copytree(self.folder / 'cache', cache)
    for path in cache.glob('*/*/*-cache'):
      path.write_bytes(path.read_bytes()[:100])
    workdir = self.folder / 'of_broken'
    self.run_to_end(
      workdir, env={**self.environment, 'XDG_CACHE_HOME': str(cache)}
    )
    self.assert_same_run(workdir)

  @pytest.mark.slow
  def test_killed_and_resumed(self):
    workdir = self.folder / 'killed'
    code, _ = self.run_until(workdir, 6, signal.SIGKILL)
    self.assertEqual(code, -signal.SIGKILL)
    self.assertIn('resuming from step', self.run_to_end(workdir))
    self.assert_same_run(workdir)

  @pytest.mark.slow
  def test_terminated_and_resumed(self):
    workdir = self.folder / 'terminated'
    code, out = self.run_until(workdir, 13, signal.SIGTERM)
    self.assertEqual(code, 128 + signal.SIGTERM, out)
    self.assertIn('the same command goes on', out)
    self.assertGreaterEqual(checkpoint.latest_step(workdir), 13)
    self.run_to_end(workdir)
    self.assert_same_run(workdir)

  def test_networks_of_pytorch(self):
    path = self.folder / 'student.safetensors'
    state = checkpoint.restore(self.whole, which='best')
    torch_io.save(state.nets['student'], path)
    whole = json.loads((self.whole / 'results.json').read_text())
    workdir = self.folder / 'imported'
    given = f'--config.model.torch={path}'
    printed = self.run_to_end(workdir, '--mode=evaluate', given)
    self.assertIn('student: tiny of width 4', printed)
    found = json.loads((workdir / 'results.json').read_text())
    self.assertEqual(found['roles'], {'student': whole['roles']['student']})
    source = found['selection']['roles']['student']
    self.assertEqual(source['torch'], path.name)
    self.assertEqual(found['config']['model']['torch'], '')

  @pytest.mark.slow
  def test_two_devices(self):
    workdir = self.folder / 'two'
    flags = '--xla_force_host_platform_device_count=2'
    with mock.patch.dict(self.environment, XLA_FLAGS=flags):
      printed = self.run_to_end(workdir)
    self.assertIn('2 x cpu', printed)
    one, two = (
      [
        json.loads(line)
        for line in (w / 'metrics.jsonl').read_text().splitlines()[:3]
      ]
      for w in (self.whole, workdir)
    )
    # Rounding differs from the first sum on, and grows with the steps.
    for a, b in zip(one, two, strict=True):
      self.assertAlmostEqual(a['loss'], b['loss'], delta=1e-3)
    self.assertTrue((workdir / 'results.json').exists())

  def test_evaluate_alone_with_other_attacks(self):
    workdir = self.folder / 'evaluated'
    shutil.copytree(self.whole, workdir)
    corrupted = self.folder / 'corrupted'
    corrupted.mkdir()
    images = data.load('digits', split='test')
    np.save(corrupted / 'none.npy', np.tile(images.images, (5, 1, 1, 1)))
    np.save(corrupted / 'labels.npy', np.tile(images.labels, 5))
    out = self.run_to_end(
      workdir,
      '--mode=evaluate',
      "--config.eval.attacks=('clean','pgd3','transfer')",
      '--config.eval.examples=0',
      '--config.eval.save_outcomes=True',
      '--config.data.dir=/of/this/machine',
      f'--config.eval.corruptions={corrupted}',
    )
    self.assertIn('peer on corrupted images, mean of all', out)
    self.assertIn('accuracy in % on 360 test images', out)
    found = json.loads((workdir / 'results.json').read_text())
    self.assertEqual(found['roles']['student']['pgd3']['n'], 360)
    for section, field in (('data', 'dir'), ('eval', 'corruptions')):
      self.assertEqual(found['config'][section][field], '')
    for role, value in found['corruptions'].items():
      clean = found['roles'][role]['clean']['accuracy']
      np.testing.assert_allclose(value['each']['none'], [clean] * 5)
      self.assertAlmostEqual(value['mean'], clean)
    roles = ('student', 'student_swa', 'peer')
    # Those of the evaluation after training are kept.
    self.assertContainsSubset(
      {'peer_on_student_pgd3'}
      | {f'{a}_on_{b}_pgd20' for a in roles for b in roles if a != b},
      set(found['transfer']),
    )
    outcomes = np.load(workdir / 'outcomes.npz')
    self.assertAlmostEqual(
      outcomes['student/pgd3'].mean(),
      found['roles']['student']['pgd3']['accuracy'],
    )

  @pytest.mark.slow
  def test_autoattack_stopped_and_resumed(self):
    extra = (
      '--mode=evaluate',
      "--config.eval.attacks=('autoattack',)",
      "--config.eval.roles=('student','peer')",
      '--config.eval.examples=60',
      '--config.eval.save_outcomes=True',
    )
    whole, stopped = self.folder / 'aa', self.folder / 'aa_stopped'
    for workdir in (whole, stopped):
      shutil.copytree(self.whole, workdir)
    out = self.run_to_end(whole, *extra)
    self.assertIn('peer, autoattack on 60 images', out)

    process = self.start(stopped, *extra)
    while process.poll() is None:
      states = stopped.glob('autoattack/*.json')
      if any('"apgd_ce": ' in state.read_text() for state in states):
        break
      time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 128 + signal.SIGTERM, out)
    self.run_to_end(stopped, *extra)

    found, again = (
      json.loads((w / 'results.json').read_text()) for w in (whole, stopped)
    )
    before = json.loads((self.whole / 'results.json').read_text())
    # What was known of the same networks stays.
    self.assertEqual(found['roles'], before['roles'])
    self.assertEqual(set(found['autoattack']), {'student', 'peer'})
    for role, values in found['autoattack'].items():
      report, other = values['autoattack'], again['autoattack'][role]
      self.assertEqual(sum(report['counts'].values()), 60)
      self.assertEqual(report['n'], 60)
      self.assertLessEqual(report['robust_accuracy'], report['clean_accuracy'])
      self.assertEqual(report['settings']['attacks'][0], 'apgd_ce')
      self.assertEqual(report['settings']['queries'], 5000)
      for name in ('counts', 'accuracy_after', 'flags', 'settings'):
        self.assertEqual(report[name], other['autoattack'][name])
    outcomes = [np.load(w / 'outcomes.npz') for w in (whole, stopped)]
    for name in outcomes[0]:
      np.testing.assert_array_equal(outcomes[0][name], outcomes[1][name])
    self.assertIn('peer/autoattack_outcome', outcomes[0])

  @pytest.mark.slow
  def test_checks_for_masked_gradients(self):
    workdir = self.folder / 'obfuscation'
    shutil.copytree(self.whole, workdir)
    out = self.run_to_end(
      workdir,
      '--mode=evaluate',
      "--config.eval.attacks=('obfuscation',)",
      "--config.eval.roles=('student_swa',)",
      '--config.eval.examples=16',
    )
    self.assertIn('student_swa, masked gradients: ', out)
    self.assertIn('accuracy falls to zero: 0.1 ', out)
    found = json.loads((workdir / 'results.json').read_text())
    self.assertEqual(list(found['obfuscation']), ['student_swa'])
    checks = found['obfuscation']['student_swa']
    self.assertEqual(
      set(checks['white_box_beats_transfer']['values']),
      {'pgd20', 'student', 'peer'},
    )
    alone = found['autoattack']['student_swa']
    self.assertEqual(
      checks['gradients_beat_queries']['values'],
      {n: alone[n]['robust_accuracy'] for n in ('apgd_t', 'square')},
    )

  def test_another_config_is_refused_with_the_difference(self):
    out = self.run_to_end(self.whole, '--config.seed=7', code=1)
    self.assertIn('was made with another config:\n  seed: 0 there, 7 now', out)


@pytest.mark.slow
class TeacherTest(unittest.TestCase):
  """A method with a teacher, on a machine that has none."""

  def test_trained_on_demand_stopped_resumed_and_then_not_needed(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    workdir = pathlib.Path(folder.name) / 'ltd'
    teacher = workdir / 'teacher'
    epochs = {'train.epochs': 1, 'train.checkpoint_every_steps': 0}
    overrides = {k: v for k, v in OVERRIDES.items() if '.peer.' not in k}
    command = [
      sys.executable,
      '-m',
      'peeraid_jax.main',
      '--config=configs/digits.py:method=ltd,student=tiny',
      f'--workdir={workdir}',
      "--config.teacher.train_overrides=('train.epochs=2','eval.attacks="
      '("clean",)\')',
      *[f'--config.{k}={v}' for k, v in {**overrides, **epochs}.items()],
    ]
    environment = {
      **os.environ,
      'XDG_CACHE_HOME': str(workdir.parent / 'cache'),
      'XLA_FLAGS': '',
      'PYTHONUNBUFFERED': '1',
    }

    def run(*extra):
      return subprocess.run(
        [*command, *extra],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
      )

    process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    while process.poll() is None:
      if (teacher / 'metrics.jsonl').exists():
        if '"step"' in (teacher / 'metrics.jsonl').read_text():
          break
      time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 128 + signal.SIGTERM, out)
    self.assertFalse((teacher / 'results.json').exists())

    done = run()
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    self.assertIn('resuming from step', done.stdout)
    self.assertIn('method=natural,student=tiny', done.stdout)
    found = json.loads((workdir / 'results.json').read_text())
    self.assertEqual(found['teachers']['teacher']['method'], 'natural')
    self.assertIn('clean', found['teachers']['teacher']['accuracies'])
    self.assertIn('teacher_on_student_pgd2', found['transfer'])
    self.assertEqual(set(found['roles']), {'student'})

    # The teacher is in the checkpoints of the run.
    shutil.rmtree(teacher)
    again = run('--mode=evaluate')
    self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
    repeated = json.loads((workdir / 'results.json').read_text())
    for part in ('roles', 'transfer', 'teachers'):
      self.assertEqual(repeated[part], found[part])


class BadInputTest(unittest.TestCase):
  """Nothing is compiled and no traceback is shown."""

  def _error(self, *arguments):
    done = subprocess.run(
      [sys.executable, '-m', 'peeraid_jax.main', *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 1)
    self.assertNotIn('Traceback', done.stderr)
    self.assertEqual(done.stdout, '')
    return done.stderr

  def test_messages(self):
    digits = '--config=configs/digits.py'
    folder = tempfile.mkdtemp()
    for arguments, expected in (
      ((), '--config=FILE is missing'),
      (('--config=configs/none.py',), 'configs/none.py: no such file'),
      ((digits, 'x'), "unexpected arguments ['x']"),
      ((digits + ':method=x',), 'method=x is unknown; known: natural'),
      (
        (digits, '--config.train.epoch=1'),
        'config.train.epoch is unknown. Did you mean train.epochs?',
      ),
      ((digits, '--config.attack.epsilon=8'), 'should be a number from 0 to 1'),
      ((digits, '--config.seed=x'), 'invalid literal for int()'),
      ((digits, '--mode=x'), 'should be one of <train|evaluate>'),
      (
        (digits, '--config.train.batch_size=5000', f'--workdir={folder}'),
        'should be at most 1237, the number of training images',
      ),
      (
        (
          digits + ':method=ltd',
          '--config.teacher.workdir=/none',
          f'--workdir={folder}',
        ),
        'config.teacher.workdir: /none is not the work directory of a run',
      ),
      (
        (
          digits + ':method=ltd',
          '--config.teacher.train_config=none.py',
          f'--workdir={folder}',
        ),
        "'none.py' is not a config file",
      ),
      (
        (digits, '--mode=evaluate', f'--workdir={folder}'),
        'is not the work directory of a run',
      ),
      (
        ('--config=configs/cifar10.py', f'--config.data.dir={folder}'),
        'cifar-10-binary.tar.gz',
      ),
    ):
      with self.subTest(' '.join(arguments)):
        self.assertIn(expected, self._error(*arguments))
    self.assertEqual(list(pathlib.Path(folder).iterdir()), [])


if __name__ == '__main__':
  absltest.main()
