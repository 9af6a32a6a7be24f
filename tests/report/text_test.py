"""Numbers and lists as text."""

from absl.testing import absltest

from peeraid_jax.report import text


class TextTest(absltest.TestCase):
  def test_numbers(self):
    self.assertEqual(text.percent(0.625), '62.5')
    self.assertEqual(text.mean_percent([0.5]), '50.0')
    self.assertEqual(text.mean_percent([0.2, 0.3]), '25.0 ± 7.1')

  def test_lists(self):
    self.assertEqual(text.listed([10, 2, 2]), '2, 10')
    self.assertEqual(text.table_row('a', ['b', '']), '| a | b |  |')


if __name__ == '__main__':
  absltest.main()
