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


if __name__ == '__main__':
  absltest.main()
