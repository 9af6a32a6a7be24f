"""Faults around results.json: no measurement is lost, mixed or overwritten."""

import contextlib
import io
import json
import pathlib
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import data, files, run
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import (
  accuracy,
  autoattack_run,
  earlier_files,
  entries,
  final,
  result_content,
  table,
)
from peeraid_jax.export import card
from peeraid_jax.runtime import parallel, results
from peeraid_jax.training import build, checkpoint
from tests import helpers
from tests.export import runs as export_runs

ROOT = pathlib.Path(__file__).parents[2]

# An entry of 'evaluations' that is whole.
ENTRY = entries.new(
  'attack',
  'student',
  'clean',
  {'accuracy': 0.5},
  settings={},
  images=(20, 'first'),
  sources={},
  provenance={},
)

# Files that are no results, by name.
DAMAGED = {
  'empty': b'',
  'truncated': b'{"roles": {"student": {"cle',
  'null': b'null',
  'list': b'[1, 2]',
  'object_without_roles': b'{}',
  'roles_of_another_type': b'{"roles": []}',
  'accuracies_of_another_type': b'{"roles": {"student": {"clean": 0.5}}}',
  'text_as_accuracy': b'{"roles": {"s": {"c": {"accuracy": "x", "n": 1}}}}',
  'selection_of_another_type': b'{"roles": {}, "selection": 3}',
  'entries_of_another_type': b'{"roles": {}, "evaluations": [{}]}',
  **{
    f'entry_with_bad_{field}': json.dumps(
      {'roles': {}, 'evaluations': [ENTRY | {field: value}]}
    ).encode()
    for field, value in {
      'kind': 'guess',
      'result': 0.5,
      'sources': ['best'],
      'settings': None,
      'n': 'many',
    }.items()
  },
  'deep': b'[' * 200_000,
  'not_utf8': b'\xff\xfe{"roles": {}}',
}


class EvaluationCase(parameterized.TestCase):
  """Tests that evaluate a tiny run, whose networks are not trained."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = helpers.class_folder(cls)
    cls.trained = export_runs.create_run(folder, helpers.config('pgd_at'))
    cls.test = data.load('digits', split='test')

  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self) / 'run'
    shutil.copytree(self.trained, self.workdir)
    self.path = self.workdir / 'results.json'

  def evaluate(self, *attacks, test=None, **fields):
    """Evaluates; returns the content of results.json and what was printed."""
    config = helpers.config('pgd_at')
    config.eval.attacks = attacks
    for name, value in fields.items():
      config.eval[name] = value
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      written = final.evaluate_run(config, self.workdir, test or self.test)
    self.assertEqual(written, files.read_json(self.path))
    return written, printed.getvalue()

  def save(self, which: str, step: int) -> None:
    """Saves the networks as a checkpoint of a step."""
    plan = build.plan(helpers.config('pgd_at'))
    state = parallel.replicate(build.initial_state(plan))
    state = state.replace(step=state.step + step)
    checkpoint.save(self.workdir, state, {'best': {}}, which=which)


class AccumulationTest(EvaluationCase):
  @pytest.mark.fault('lost results', count=3)
  def test_other_attacks_are_added(self):
    self.evaluate('clean', 'fgsm', 'pgd2')
    self.evaluate('clean', 'pgd3', restarts=2)
    written, _ = self.evaluate('apgd_ce', examples=4)
    # What was measured again comes after what was not.
    self.assertEqual(
      list(written['roles']['student']), ['fgsm', 'pgd2', 'clean', 'pgd3']
    )
    self.assertEqual(written['roles']['student']['pgd3']['restarts'], 2)
    self.assertIn('apgd_ce', written['autoattack']['student'])
    self.assertLen(written['evaluations'], 5)
    settings = {e['name']: e['settings'] for e in written['evaluations']}
    self.assertEqual(settings['clean'], {})
    self.assertEqual(settings['fgsm'], {'norm': 'Linf', 'epsilon': 0.1})
    self.assertEqual(
      settings['pgd3'],
      {
        'norm': 'Linf',
        'epsilon': 0.1,
        'step_size': 0.05,
        'steps': 3,
        'restarts': 2,
      },
    )
    self.assertIn('pgd3, 2 restarts', table.table(written))

  @pytest.mark.fault('lost results', count=2)
  def test_other_settings_and_images_are_others(self):
    for changed in ({}, {'restarts': 2}, {'examples': 4}, {'subset': 'first'}):
      written, _ = self.evaluate('pgd2', **changed)
    self.assertLen(written['evaluations'], 4)
    text = table.table(written)
    self.assertIn('on a stratified subset of 20 test images', text)
    self.assertIn('on a stratified subset of 4 test images', text)
    self.assertIn('on the first 20 test images', text)
    # The summary has the most images.
    self.assertEqual(written['roles']['student']['pgd2']['n'], 20)

  @pytest.mark.fault('lost results')
  def test_the_same_evaluation_replaces_its_own_entry(self):
    before, _ = self.evaluate('clean', 'fgsm', 'pgd2')
    wrong = files.read_json(self.path)
    for entry in wrong['evaluations']:
      entry['result']['accuracy'] = 0.125
    files.write_json(self.path, wrong)
    after, _ = self.evaluate('fgsm')
    accuracies = [e['result']['accuracy'] for e in after['evaluations']]
    self.assertEqual(accuracies[:2], [0.125, 0.125])
    # A repeated measurement is the last one.
    self.assertEqual(after['evaluations'][2], before['evaluations'][1])
    again, _ = self.evaluate('clean', 'fgsm', 'pgd2')
    self.assertEqual(again['evaluations'], before['evaluations'])
    self.assertEqual(again['roles'], before['roles'])

  @pytest.mark.fault('kills', count=2)
  def test_killed_between_two_attacks(self):
    self.evaluate('clean')
    attack = accuracy._Evaluator._attack_and_classify

    def killed(evaluator, nets, images, source, name, *others):
      if name == 'pgd2':
        raise KeyboardInterrupt
      return attack(evaluator, nets, images, source, name, *others)

    with (
      mock.patch.object(accuracy._Evaluator, '_attack_and_classify', killed),
      self.assertRaises(KeyboardInterrupt),
    ):
      self.evaluate('fgsm', 'pgd2')
    written = results.read(self.workdir)
    self.assertEqual(list(written['roles']['student']), ['clean', 'fgsm'])
    original = autoattack_run._attack

    def killed_square(*arguments):
      if 'square' in arguments:
        raise KeyboardInterrupt
      return original(*arguments)

    with (
      mock.patch.object(autoattack_run, '_attack', killed_square),
      self.assertRaises(KeyboardInterrupt),
    ):
      self.evaluate('apgd_ce', 'square', examples=4)
    written = results.read(self.workdir)
    self.assertEqual(list(written['autoattack']['student']), ['apgd_ce'])
    self.assertEqual(list(written['roles']['student']), ['clean', 'fgsm'])

  @pytest.mark.fault('mixed results', count=2)
  def test_another_checkpoint(self):
    self.evaluate('clean', 'fgsm')
    with self.subTest('trained on'):
      self.save('best', 7)
      written, _ = self.evaluate('clean')
      self.assertEqual(list(written['roles']['student']), ['clean'])
      self.assertLen(written['evaluations'], 3)
      text = table.table(written)
      self.assertIn('student best at step 7', text)
      self.assertRegex(text, '2 results of other check.*student best at step 0')
      self.assertNotIn('fgsm', text)
    with self.subTest('latest'):
      self.save('latest', 9)
      written, _ = self.evaluate('fgsm', checkpoint='latest')
      self.assertEqual(list(written['roles']['student']), ['fgsm'])
      self.assertLen(written['evaluations'], 4)
      self.assertEqual(
        written['selection']['roles']['student'],
        {'checkpoint': 'latest', 'step': 9},
      )
    with self.subTest('the other one again'):
      written, _ = self.evaluate('pgd2')
      self.assertEqual(list(written['roles']['student']), ['clean', 'pgd2'])
      self.assertLen(written['evaluations'], 5)

  @pytest.mark.fault('mixed results', count=2)
  def test_a_run_that_is_trained_anew(self):
    workdir = helpers.folder(self) / 'trained'

    def train():
      config = helpers.config('pgd_at', eval__attacks=('clean',))
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        run.run(config, workdir, 'train', 'configs/digits.py')
      return printed.getvalue()

    self.assertNotIn('earlier', train())
    self.assertNotIn('earlier', train())  # Nothing is left to train.
    path, aside = workdir / 'results.json', workdir / 'results.json.earlier'
    content = files.read_json(path)
    content['evaluations'][0]['name'] = 'of_deleted_networks'
    files.write_json(path, content)
    shutil.rmtree(workdir / 'checkpoints')
    self.assertIn(f'kept as {aside}', train())
    self.assertEqual(files.read_json(aside), content)
    names = {e['name'] for e in files.read_json(path)['evaluations']}
    self.assertEqual(names, {'clean'})

  @pytest.mark.fault('mixed results', count=3)
  def test_only_process_0_sets_results_of_earlier_training_aside(self):
    aside = self.workdir / 'results.json.earlier'
    files.write_json(self.path, {'roles': {}})
    with mock.patch.object(checkpoint, 'latest_step', return_value=3):
      result_content.set_aside_if_new(self.workdir)
    shutil.rmtree(self.workdir / 'checkpoints')
    with mock.patch.object(jax, 'process_index', return_value=1):
      result_content.set_aside_if_new(self.workdir)
    self.assertFalse(aside.exists())
    with contextlib.redirect_stdout(io.StringIO()):
      result_content.set_aside_if_new(self.workdir)
    self.assertTrue(aside.exists())
    result_content.set_aside_if_new(self.workdir)  # There is none any more.

  @pytest.mark.fault('earlier versions', count=4)
  def test_parts_of_the_test_set_in_earlier_versions(self):
    """Fewer images than were asked for are all that there are."""
    value = {'clean': {'accuracy': 0.5, 'n': 20}}
    for asked, expected in (
      (0, 'all'), (10, 'first'), (20, 'first'), (21, 'all')
    ):  # fmt: skip
      config = {'eval': {'examples': asked}}
      content = {'config': config, 'roles': {'student': value}}
      (entry,) = earlier_files.entries_of(content)
      self.assertEqual(entry['subset'], expected, str(asked))

  @pytest.mark.fault('earlier versions')
  def test_a_file_of_an_earlier_version_is_extended(self):
    old = files.read_json(ROOT / 'experiments/results/digits_ltd_seed0.json')
    source = {'checkpoint': 'best', 'step': 0}
    old['selection']['roles'] = {'student': source}
    old['roles'] = {'student': old['roles']['student']}
    report = old['autoattack']['student']['autoattack']
    report['source'] = source
    files.write_json(self.path, old)
    written, printed = self.evaluate('pgd2', 'clean', examples=0)
    self.assertNotIn('warning', printed)
    self.assertEqual(
      list(written['roles']['student']),
      ['fgsm', 'pgd20', 'cw30', 'pgd2', 'clean'],
    )
    for name in ('fgsm', 'pgd20', 'cw30'):
      self.assertEqual(
        written['roles']['student'][name],
        {**old['roles']['student'][name], 'subset': 'all'},
      )
    # The same measurement as the old one, of this network.
    self.assertNotEqual(
      written['roles']['student']['clean']['accuracy'],
      old['roles']['student']['clean']['accuracy'],
    )
    self.assertEqual(
      written['autoattack']['student']['autoattack'],
      {**report, 'subset': 'all'},
    )

  @pytest.mark.fault('earlier versions', count=71)
  def test_filed_results_mean_what_they_meant(self):
    paths = sorted((ROOT / 'experiments/results').glob('*.json'))
    self.assertGreaterEqual(len(paths), 71)
    for path in paths:
      content = results.read_file(path)
      measured = earlier_files.entries_of(content)
      sources = content['selection']['roles']
      summary = entries.summary(measured, sources)
      for part in ('roles', 'transfer', 'autoattack', 'corruptions'):
        text = json.dumps(summary[part], sort_keys=True)
        for subset in ('all', 'first'):
          text = text.replace(f', "subset": "{subset}"', '')
        if part in content or summary[part]:
          self.assertEqual(json.loads(text), content[part], path)


class DamageTest(EvaluationCase):
  @parameterized.parameters(*DAMAGED)
  @pytest.mark.fault('damaged files')
  def test_a_damaged_file_is_kept_aside(self, name):
    self.path.write_bytes(DAMAGED[name])
    written, printed = self.evaluate('clean')
    aside = self.workdir / 'results.json.damaged'
    self.assertEqual(aside.read_bytes(), DAMAGED[name])
    (line,) = [row for row in printed.splitlines() if 'warning' in row]
    self.assertIn(f'{self.path} is damaged (', line)
    self.assertIn(f'It is kept as {aside}', line)
    self.assertEqual(list(written['roles']['student']), ['clean'])

  @parameterized.parameters(*DAMAGED)
  @pytest.mark.fault('damaged files')
  def test_a_model_card_leaves_them_out(self, name):
    self.path.write_bytes(DAMAGED[name])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      self.assertEqual(card._read_results(self.workdir), {})
    (line,) = printed.getvalue().splitlines()
    self.assertIn(f'warning: {self.path} is damaged (', line)
    self.assertEqual(self.path.read_bytes(), DAMAGED[name])

  @pytest.mark.fault('damaged files', count=2)
  def test_a_folder_and_a_second_damage(self):
    self.path.mkdir()
    (self.path / 'x').write_text('content')
    self.evaluate('clean')
    self.path.write_text('second')
    self.evaluate('clean')
    first, second = (
      self.workdir / f'results.json.damaged{number}' for number in ('', 2)
    )
    self.assertEqual((first / 'x').read_text(), 'content')
    self.assertEqual(second.read_text(), 'second')

  @pytest.mark.fault('damaged files')
  def test_it_is_found_before_anything_expensive(self):
    self.path.write_text('null')
    printed = io.StringIO()
    attack = mock.Mock(side_effect=KeyboardInterrupt)
    with (
      contextlib.redirect_stdout(printed),
      mock.patch.object(accuracy._Evaluator, '__call__', attack),
      self.assertRaises(KeyboardInterrupt),
    ):
      self.evaluate('clean')
    self.assertTrue((self.workdir / 'results.json.damaged').exists())


class SubsetTest(EvaluationCase):
  def setUp(self):
    super().setUp()
    order = np.argsort(self.test.labels, kind='stable')
    self.sorted = self.test.take(order)

  @pytest.mark.fault('unlike images', count=2)
  def test_images_that_are_sorted_by_class(self):
    self.evaluate('clean', test=self.sorted, save_outcomes=True)
    with np.load(self.workdir / 'outcomes.npz') as outcomes:
      self.assertEqual(np.bincount(outcomes['labels']).tolist(), [2] * 10)
      np.testing.assert_array_equal(
        self.sorted.labels[outcomes['rows']], outcomes['labels']
      )
    written, _ = self.evaluate('clean', test=self.sorted, subset='first')
    self.assertIn('on the first 20 test images', table.table(written))

  @pytest.mark.fault('unlike images', count=2)
  def test_all_runs_take_the_same_images(self):
    rows = []
    for seed in (0, 1):
      config = helpers.config('pgd_at', seed=seed, eval__save_outcomes=True)
      final.evaluate_run(config, self.workdir, self.test)
      with np.load(self.workdir / 'outcomes.npz') as outcomes:
        rows.append(outcomes['rows'])
    np.testing.assert_array_equal(*rows)
    images, labels, subset = dataset.test_images(config, 20)
    self.assertEqual(subset, 'stratified')
    np.testing.assert_array_equal(labels, self.test.labels[rows[0]])
    np.testing.assert_array_equal(
      np.rint(images * 255), self.test.images[rows[0]]
    )

  @pytest.mark.fault('unlike images', count=3)
  def test_all_images_stay_in_their_order(self):
    for count in (0, 360, 1000):
      for how in ('first', 'stratified'):
        rows, subset = dataset.chosen(self.test.labels, count, how)
        self.assertEqual((rows, subset), (slice(0, 360), 'all'))

  @pytest.mark.fault('unlike images')
  def test_a_stopped_autoattack_goes_on_with_its_own_images(self):
    states = set()
    for subset in ('first', 'stratified'):
      self.evaluate('apgd_ce', examples=4, subset=subset)
      states |= {path.name for path in self.workdir.glob('autoattack/*.json')}
    self.assertLen(states, 2)

  @pytest.mark.fault('earlier versions')
  def test_configs_of_earlier_versions_took_the_first_images(self):
    stored = config_lib.to_json(helpers.config('pgd_at'))
    self.assertEqual(config_lib.from_json(stored).eval.subset, 'stratified')
    del stored['eval']['subset']
    self.assertEqual(config_lib.from_json(stored).eval.subset, 'first')


class BadRequestTest(EvaluationCase):
  @pytest.mark.fault('bad input', count=2)
  def test_networks_that_the_run_does_not_have(self):
    with self.assertRaisesRegex(ValueError, "roles=.'peer',. should name"):
      self.evaluate('clean', roles=('peer',))
    _, printed = self.evaluate('clean', roles=('student', 'student_swa'))
    self.assertIn('has no student_swa, which config.eval.roles names', printed)

  @pytest.mark.fault('bad input', count=2)
  def test_batch_sizes(self):
    expected, _ = self.evaluate('clean', 'pgd2')
    for size in (1, 10_000):
      written, _ = self.evaluate('clean', 'pgd2', batch_size=size)
      self.assertEqual(written['roles'], expected['roles'])

  @pytest.mark.fault('bad input')
  def test_more_images_than_there_are(self):
    config = helpers.config('pgd_at', eval__examples=361)
    with self.assertRaisesRegex(ValueError, 'examples=361 should be at most'):
      dataset.splits(config)

  @pytest.mark.fault('unlike images', count=2)
  def test_corrupted_images_are_chosen_alike(self):
    folder = self.workdir / 'corrupted'
    folder.mkdir()
    order = np.argsort(self.test.labels, kind='stable')
    images, labels = self.test.images[order], self.test.labels[order]
    np.save(folder / 'none.npy', np.tile(images, (5, 1, 1, 1)))
    np.save(folder / 'labels.npy', labels)
    config = helpers.config('pgd_at', eval__corruptions=str(folder))
    for subset in ('stratified', 'first'):
      config.eval.subset = subset
      written = final.evaluate_run(
        config,
        self.workdir,
        self.test.take(order),
        dataset.corruptions(config),
      )
      (entry,) = (
        e
        for e in written['evaluations']
        if (e['kind'], e['subset']) == ('corruptions', subset)
      )
      self.assertEqual(entry['n'], 20)
      clean = written['roles']['student']['clean']['accuracy']
      self.assertEqual(entry['result']['each'], {'none': [clean] * 5})

  @pytest.mark.fault('unlike images', count=2)
  def test_more_corrupted_images_than_test_images(self):
    folder = self.workdir / 'corrupted'
    folder.mkdir()
    np.save(folder / 'none.npy', np.tile(self.test.images[:40], (5, 1, 1, 1)))
    np.save(folder / 'labels.npy', self.test.labels[:40])
    config = helpers.config('pgd_at', eval__corruptions=str(folder))
    for count, expected in ((0, (40, 'all')), (15, (15, 'first'))):
      config.eval.examples, config.eval.subset = count, 'first'
      written = final.evaluate_run(
        config,
        self.workdir,
        self.test.take(slice(0, 30)),
        dataset.corruptions(config),
      )
      found = written['evaluations'][-1]
      self.assertEqual(found['kind'], 'corruptions')
      self.assertEqual((found['n'], found['subset']), expected)

  @pytest.mark.fault('bad input')
  def test_fewer_images_than_processes(self):
    with (
      mock.patch.object(jax, 'process_count', return_value=40),
      self.assertRaisesRegex(ValueError, 'at least the number of processes'),
    ):
      final._check_count(helpers.config(eval__attacks=('apgd_ce',)), 20)


if __name__ == '__main__':
  absltest.main()
