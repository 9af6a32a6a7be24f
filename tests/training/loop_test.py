"""The loop: what it saves, and that an interruption leaves no trace."""

import json

import chex
import jax
import numpy as np
from absl.testing import absltest

from peeraid_jax import config as config_lib
from peeraid_jax import files
from peeraid_jax.runtime import interrupts
from peeraid_jax.training import build, checkpoint, log, loop
from tests import helpers

# 40 images in batches of 16: 3 steps an epoch, 9 in all; SWA from epoch 1.
STEPS = 9


class CheckingTest(absltest.TestCase):
  def test_all_batches_while_nothing_happens(self):
    with interrupts.Interrupts() as signals:
      batches = loop._checking(signals, iter('abc'))
      self.assertEqual(list(batches), ['a', 'b', 'c'])


class LoopTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _train(self, name, *, scores=(), interrupt_at=None, **overrides):
    """Trains; `interrupt_at` stops in that call of the selection."""
    config = helpers.config(**overrides)
    workdir = self.folder / name
    workdir.mkdir(exist_ok=True)
    files.write_json(workdir / 'config.json', config_lib.to_json(config))
    self.calls = []

    def select(state, tick):
      tick('student', 'pgd2', 0, 1)
      self.calls.append((int(state.step), int(state.swa_count)))
      if len(self.calls) == interrupt_at:
        raise interrupts.Interrupted(15)
      score = scores[len(self.calls) - 1] if scores else 0.5
      found = {'select/student/pgd2': score}
      if int(state.swa_count):
        found['select/student_swa/pgd2'] = score
      return found

    data = helpers.digits()
    plan = build.plan(config, examples=len(data.labels))
    loop.train(plan, workdir, data, select)
    return workdir

  def _states(self, workdir):
    return {
      which: jax.device_get(checkpoint.restore(workdir, which=which))
      for which in checkpoint.WHICH
    }

  def test_best_checkpoints_and_records(self):
    workdir = self._train('a', scores=(0.3, 0.6, 0.6))
    # Called at the end of each epoch; the average counts from epoch 1.
    self.assertEqual(self.calls, [(3, 0), (6, 1), (9, 2)])
    states = self._states(workdir)
    # Strictly better wins: the second of two equals does not.
    steps = {which: int(s.step) for which, s in states.items()}
    self.assertEqual(steps, {'latest': 9, 'best': 6, 'best_swa': 6})
    _, meta = checkpoint.restore_with_meta(workdir)
    self.assertEqual(
      meta['best']['best'], {'score': 0.6, 'step': 6, 'epoch': 2}
    )
    # At the end of epoch 1 the average is the student itself.
    state = states['best_swa']
    chex.assert_trees_all_equal(
      state.nets['student_swa'].params, state.nets['student'].params
    )
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_equal(
        state.nets['student_swa'].batch_stats,
        state.nets['student'].batch_stats,
      )
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    steps = [r for r in records if 'loss' in r]
    self.assertEqual([r['step'] for r in steps], list(range(1, STEPS + 1)))
    np.testing.assert_allclose(
      [r['student/learning_rate'] for r in steps],
      [0.1] * 3 + [0.01] * 6,
      rtol=1e-6,
    )
    for name in (
      'peer/loss_ce',
      'peer/loss_kl_student',
      'student/loss_kl_peer',
      'student/loss_kl_clean',
      'student/clean_accuracy',
      'student/adv_accuracy',
      'peer/clean_accuracy',
      'peer/adv_accuracy',
      'student/grad_norm',
      'peer/grad_norm',
      'images_per_second',
    ):
      self.assertIn(name, steps[-1])
    self.assertEqual([r['epoch'] for r in records if 'epoch' in r], [1, 2, 3])

    # Interrupted while the second epoch's end is evaluated, then resumed.
    with self.assertRaises(interrupts.Interrupted):
      self._train('b', scores=(0.3, 0.6, 0.6), interrupt_at=2)
    self.assertEqual(checkpoint.latest_step(self.folder / 'b'), 6)
    resumed = self._train('b', scores=(0.6, 0.6))
    self.assertEqual(self.calls, [(6, 1), (9, 2)])
    chex.assert_trees_all_equal(self._states(resumed), self._states(workdir))

    # A finished run is finished.
    self._train('b')
    self.assertEqual(self.calls, [])

  def test_divergence(self):
    with self.assertRaisesRegex(
      FloatingPointError, r'^step [1-3]: .* not finite.*try a smaller learning'
    ):
      self._train(
        'a',
        optimizer__student__learning_rate=1e30,
        train__checkpoint_every_steps=1,
      )
    self.assertIsNone(checkpoint.latest_step(self.folder / 'a'))

  def test_settings_without_effect_are_named(self):
    config = helpers.config('natural', optimizer__student__schedule='cosine')
    (note,) = log.notes(build.plan(config))
    self.assertIn('optimizer.student.decay_epochs=(1,) has no effect', note)
    self.assertEqual(log.notes(build.plan(helpers.config())), [])

  def test_peer_from_an_earlier_run(self):
    first = self._train('a', train__epochs=1)
    student = checkpoint.restore(first, which='best').nets['student']
    config = helpers.config(
      model__peer_from=str(first), method__kwargs__freeze_peer=True
    )
    state, _ = loop.initial_state(build.plan(config), self.folder)
    chex.assert_trees_all_equal(
      jax.device_get(state.nets['peer']), jax.device_get(student)
    )
    config.model.width = 8
    with self.assertRaisesRegex(
      ValueError, 'tiny of width 4 for 10.* peer is tiny of width 8'
    ):
      loop.initial_state(build.plan(config), self.folder)


if __name__ == '__main__':
  absltest.main()
