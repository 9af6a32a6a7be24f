"""Result files: whole, and a table that says what they say."""

import json
import pathlib
import re
import tempfile

from absl.testing import absltest

from peeraid_jax import results


class ResultsTest(absltest.TestCase):
  def test_write_is_whole(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'results.json'
      results.write(path, {'a': 1})
      results.write(path, {'a': 2})
      self.assertEqual(json.loads(path.read_text()), {'a': 2})
      self.assertEqual([p.name for p in path.parent.iterdir()], [path.name])

  def test_table(self):
    value = lambda a: {'accuracy': a, 'n': 50}
    text = results.table(
      {
        'roles': {
          'student': {'clean': value(0.9), 'pgd20': value(0.4567)},
          'peer': {'clean': value(1.0)},
        },
        'transfer': {'peer_on_student_pgd20': value(0.5)},
      }
    )
    self.assertRegex(text, r'on 50 test images')
    self.assertRegex(text, r'student +90\.00 +45\.67')
    self.assertRegex(text, r'peer +100\.00')
    self.assertIn('peer on images that attack student pgd20: 50.00', text)

  def test_provenance(self):
    self.assertTrue(
      results.commit() == 'unknown'
      or re.fullmatch(r'[0-9a-f]{40}(-dirty)?', results.commit())
    )
    self.assertIn('cpu', results.device())
    self.assertIn('jax', results.versions())


if __name__ == '__main__':
  absltest.main()
