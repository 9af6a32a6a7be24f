"""The table of accuracies of a report."""

import pathlib

import ml_collections
from absl.testing import absltest

from peeraid_jax.evaluation import entries
from peeraid_jax.report import accuracies, runs
from tests.report import sample_runs


def _run(label: str, results) -> runs.Run:
  """Returns a run without networks."""
  config = ml_collections.ConfigDict({'data': {'name': 'digits'}})
  return runs.Run(
    label, pathlib.Path(label), config, 'student', {}, {}, results, []
  )


class AccuraciesTest(absltest.TestCase):
  def test_not_evaluated(self):
    table = accuracies.table([_run('a', {})])
    self.assertIn('--mode=evaluate', table['text'])
    self.assertEmpty(table['rows'])

  def test_cells_stay_empty_where_an_attack_was_not_run(self):
    other = {'roles': {'peer': {'pgd20': {'accuracy': 0.5, 'n': 20}}}}
    table = accuracies.table([_run('a', sample_runs.RESULTS), _run('b', other)])
    self.assertEqual(
      table['heads'],
      [
        'clean (360 images)',
        'pgd20 (20 images)',
        'AutoAttack (the first 16 images)',
      ],
    )
    self.assertEqual(
      table['rows'],
      [
        {'label': 'a, student', 'cells': ['62.5', '', '25.0']},
        {'label': 'b, peer', 'cells': ['', '50.0', '']},
      ],
    )
    self.assertIn('The head of a column says how many', table['text'])
    self.assertIn('on the validation set.', table['text'])

  def test_no_selection_set(self):
    results = {'roles': sample_runs.RESULTS['roles']}
    self.assertNotIn('selected', accuracies.table([_run('a', results)])['text'])

  def test_the_same_images_stand_in_the_text(self):
    results = {'roles': sample_runs.RESULTS['roles']}
    table = accuracies.table([_run('a', results)])
    self.assertEqual(table['heads'], ['clean'])
    self.assertIn('on 360 test images of digits.', table['text'])

  def test_one_attack_on_different_images_and_checkpoints(self):
    measured = [
      entries.new(
        'attack',
        'student',
        'clean',
        {'accuracy': accuracy},
        settings={},
        images=images,
        sources={'student': {'checkpoint': 'best', 'step': step}},
        provenance={},
      )
      for accuracy, images, step in (
        (0.1, (20, 'stratified'), 8),
        (0.2, (360, 'all'), 8),
        (0.3, (20, 'stratified'), 4),
      )
    ]
    run = _run('a', {'roles': {}, 'evaluations': measured})
    run = run._replace(sources={'student': {'checkpoint': 'best', 'step': 8}})
    table = accuracies.table([run])
    self.assertEqual(
      table['heads'],
      ['clean (20 images, stratified)', 'clean (360 images)'],
    )
    self.assertEqual(
      table['rows'],
      [
        {'label': 'a, student', 'cells': ['10.0', '20.0']},
        {'label': 'a, student (best at step 4)', 'cells': ['30.0', '']},
      ],
    )


if __name__ == '__main__':
  absltest.main()
