"""Tables of the papers' numbers beside ours."""

from absl.testing import absltest

from peeraid_jax.report import paper_tables
from tests.report import sample_results


class PaperTablesTest(absltest.TestCase):
  def test_ours_beside_the_paper(self):
    rows = [
      {
        'what': 'CIFAR-10',
        'run': 'one',
        'config': 'configs/cifar10.py',
        'overrides': {'swa.start_epoch': '3', 'eval.attacks': "('clean',)"},
        'paper': {'clean': 85.0, 'autoattack': 52.5},
        'source': 'a poster',
      },
      {'what': 'MART', 'run': 'two', 'config': 'configs/cifar10.py'},
      {'what': 'checks', 'command': 'pytest'},
    ]
    result = sample_results.result
    groups = {'one': [result(0, 0.5, 0.8), result(1, 0.6, 0.9)]}
    _, _, first, second, third = paper_tables.render(rows, groups).splitlines()
    self.assertEqual(
      first,
      '| CIFAR-10 | `python -m peeraid_jax.main --config=configs/cifar10.py '
      '--config.swa.start_epoch=3 --config.eval.attacks="(\'clean\',)"` | '
      'clean 85.0, AutoAttack 52.5 (a poster) | '
      'clean 85.0 ± 7.1, AutoAttack 55.0 ± 7.1 | +0.0, +2.5 | 0, 1 |',
    )
    self.assertIn('| not run |  |  |', second)
    self.assertEqual(third, '| checks | `pytest` |  |  |  |  |')
    # AutoAttack was run on one of two seeds, so there is no mean.
    groups['one'][1].pop('autoattack')
    self.assertIn(
      '| clean 85.0 ± 7.1 | +0.0 |', paper_tables.render(rows, groups)
    )


if __name__ == '__main__':
  absltest.main()
