"""Reading of results.json, and the provenance of results."""

import re

from absl.testing import absltest, parameterized

from peeraid_jax import files
from peeraid_jax.runtime import results
from tests import helpers


class ReadTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    self.path = self.workdir / 'results.json'

  def test_content(self):
    files.write_json(self.path, {'roles': {}})
    self.assertEqual(results.read(self.workdir), {'roles': {}})
    self.assertEqual(results.read(str(self.workdir)), {'roles': {}})

  def test_not_evaluated_yet(self):
    self.assertIsNone(results.read(self.workdir))

  @parameterized.parameters('', '{"roles": {', '[1, 2]', 'null')
  def test_a_damaged_file_is_named(self, content):
    self.path.write_text(content)
    with self.assertRaisesRegex(ValueError, f'{self.path} is damaged'):
      results.read(self.workdir)


class ProvenanceTest(absltest.TestCase):
  def test_commit_device_and_versions(self):
    self.assertTrue(
      results.commit() == 'unknown'
      or re.fullmatch(r'[0-9a-f]{40}(-dirty)?', results.commit())
    )
    self.assertIn('cpu', results.device())
    self.assertIn('jax', results.versions())


if __name__ == '__main__':
  absltest.main()
