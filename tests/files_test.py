"""Atomic writing, and reading of damaged JSON."""

import json

from absl.testing import absltest, parameterized

from peeraid_jax import files
from tests import helpers


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.path = self.folder / 'results.json'

  def assert_only_the_file_is_left(self):
    names = [path.name for path in self.folder.iterdir()]
    self.assertEqual(names, [self.path.name])

  def test_a_file_is_written_and_replaced(self):
    files.write_json(self.path, {'a': 1})
    files.write_json(self.path, {'a': 2})
    self.assertEqual(json.loads(self.path.read_text()), {'a': 2})
    self.assertEqual(files.read_json(self.path), {'a': 2})
    self.assert_only_the_file_is_left()

  def test_the_old_content_stays_until_the_end(self):
    files.write_text(self.path, 'old')
    with files.replacing(self.path) as temporary:
      temporary.write_text('new')
      self.assertEqual(self.path.read_text(), 'old')
    self.assertEqual(self.path.read_text(), 'new')
    self.assert_only_the_file_is_left()

  def test_an_error_leaves_the_old_content_and_no_temporary_file(self):
    files.write_text(self.path, 'old')
    with self.assertRaises(KeyError), files.replacing(self.path) as temporary:
      temporary.write_text('half of the n')
      raise KeyError
    self.assertEqual(self.path.read_text(), 'old')
    self.assert_only_the_file_is_left()

  def test_an_error_leaves_no_new_file(self):
    with self.assertRaises(KeyError), files.replacing(self.path) as temporary:
      temporary.write_text('half of the n')
      raise KeyError
    self.assertEmpty(list(self.folder.iterdir()))

  def test_content_that_is_not_json_changes_nothing(self):
    files.write_json(self.path, {'a': 1})
    with self.assertRaises(TypeError):
      files.write_json(self.path, {'a': object()})
    self.assertEqual(files.read_json(self.path), {'a': 1})
    self.assert_only_the_file_is_left()

  def test_the_suffix_of_the_temporary_file(self):
    with files.replacing(self.path, suffix='.tmp.npz') as temporary:
      self.assertEndsWith(temporary.name, '.tmp.npz')
      temporary.write_text('')

  @parameterized.parameters(b'', b'{"a": 1', b'\xff\xfe', b'[' * 100_000)
  def test_a_damaged_file_is_named(self, content):
    self.path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, f'{self.path} is damaged'):
      files.read_json(self.path)

  def test_a_missing_file(self):
    with self.assertRaises(FileNotFoundError):
      files.read_json(self.path)


if __name__ == '__main__':
  absltest.main()
