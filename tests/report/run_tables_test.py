"""Tables of our own runs."""

from absl.testing import absltest

from peeraid_jax.report import run_tables
from tests.report import sample_results


class RunTablesTest(absltest.TestCase):
  def test_autoattack_column(self):
    result = sample_results.result
    groups = {
      'whole': [result(0, 0.2), result(1, 0.3)],
      'half': [result(0, 0.2), result(1, None)],
    }
    text = run_tables.table({'whole': 'A', 'half': 'B'}, groups)
    self.assertRegex(text, r'A, student \|.*\| 25.0 ± 7.1 \|  \|')
    self.assertRegex(text, r'B, student \|.* 50.0 ± 0.0 \|  \|  \|')
    self.assertIn(
      'on 40 test images, AutoAttack on 20 (commit aaaaaaaaaaaa); epsilon', text
    )
    groups['half'].pop()
    text = run_tables.table({'whole': 'A', 'half': 'B'}, groups)
    self.assertIn('| B (1 of 2 seeds), student |', text)

  def test_cells_on_other_images_say_so(self):
    result = sample_results.result
    groups = {'a': [result(0, 0.2)], 'b': [result(0, 0.2)], 'c': [result(0)]}
    other = groups['b'][0]
    other['roles']['student']['pgd20'] |= {'n': 30, 'subset': 'stratified'}
    for content in groups.values():
      content[0]['roles']['student']['cw30']['n'] = 25
    text = run_tables.table({'a': 'A', 'b': 'B', 'c': 'C'}, groups)
    self.assertIn('| 50.0 (on 30 (stratified) images) |', text)
    self.assertEqual(text.count('images)'), 1)
    self.assertIn(
      'on 40 (clean), 40 (FGSM), 40 (PGD-20), 25 (CW-30) test images, '
      'AutoAttack on 20 (commit',
      text,
    )


if __name__ == '__main__':
  absltest.main()
