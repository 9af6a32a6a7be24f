"""The table of accuracies of a report."""

import pathlib

import ml_collections
from absl.testing import absltest

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
    self.assertEqual(table['heads'], ['clean', 'pgd20', 'AutoAttack'])
    self.assertEqual(
      table['rows'],
      [
        {'label': 'a, student', 'cells': ['62.5', '', '25.0']},
        {'label': 'b, peer', 'cells': ['', '50.0', '']},
      ],
    )
    self.assertIn('20, 360 test images of digits', table['text'])
    self.assertIn('on the validation set.', table['text'])

  def test_no_selection_set(self):
    results = {'roles': sample_runs.RESULTS['roles']}
    self.assertNotIn('selected', accuracies.table([_run('a', results)])['text'])


if __name__ == '__main__':
  absltest.main()
