"""Registries: entries, families, and messages that help."""

import importlib.util
import pathlib
import tempfile

from absl.testing import absltest, parameterized

from peeraid_jax import methods, registry


class RegistryTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.registry = registry.Registry('colour')
    self.registry.register('red', 1)
    self.registry.register('dark-blue_2', 2)

  def test_get(self):
    self.assertEqual(self.registry.get('red'), 1)
    self.assertEqual(self.registry['dark-blue_2'], 2)

  def test_contents(self):
    self.assertIn('red', self.registry)
    self.assertNotIn('green', self.registry)
    self.assertNotIn(3, self.registry)
    self.assertLen(self.registry, 2)
    self.assertEqual(list(self.registry), ['red', 'dark-blue_2'])
    self.assertEqual(self.registry.keys(), ('red', 'dark-blue_2'))
    self.assertEqual(self.registry.items(), (('red', 1), ('dark-blue_2', 2)))

  def test_an_unknown_name_lists_the_known(self):
    with self.assertRaisesRegex(
      ValueError, "colour 'green' is unknown; known: red, dark-blue_2"
    ):
      self.registry.get('green')

  def test_an_unknown_name_suggests_a_similar_one(self):
    with self.assertRaisesRegex(ValueError, r'Did you mean dark-blue_2\?'):
      self.registry.get('darkblue_2')
    with self.assertRaises(ValueError) as caught:
      self.registry.get('xyz')
    self.assertNotIn('Did you mean', str(caught.exception))

  def test_a_taken_name_is_refused(self):
    with self.assertRaisesRegex(ValueError, "colour 'red' exists already"):
      self.registry.register('red', 3)
    self.assertEqual(self.registry['red'], 1)
    self.registry.register('red', 3, replace=True)
    self.assertEqual(self.registry['red'], 3)
    self.assertLen(self.registry, 2)

  @parameterized.parameters('', '_x', '-x', 'a b', 'a.b', 'a/b', 'a,b', 'a=b')
  def test_a_bad_name_is_refused(self, name):
    with self.assertRaisesRegex(ValueError, 'letters, digits, _ and -'):
      self.registry.register(name, 0)
    self.assertNotIn(name, self.registry)


class OriginTest(absltest.TestCase):
  """A config file is executed several times: its lines register again."""

  def setUp(self):
    super().setUp()
    made = tempfile.TemporaryDirectory()
    self.addCleanup(made.cleanup)
    self.folder = pathlib.Path(made.name)
    self.addCleanup(methods.METHODS._entries.pop, 'mine', None)
    self.addCleanup(methods.METHODS._origins.pop, 'mine', None)

  def _execute(self, name, before=''):
    path = self.folder / name
    path.write_text(
      f'{before}from peeraid_jax import methods\n'
      "methods.register('mine', lambda maximise: None)\n"
    )
    spec = importlib.util.spec_from_file_location('config', path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return str(path.resolve())

  def test_the_origin_is_the_line_outside_of_the_package(self):
    path = self._execute('a.py')
    self.assertEqual(methods.METHODS._origins['mine'], (path, 2))
    self._execute('a.py')
    for name, before in (('a.py', '\n'), ('b.py', '')):
      with self.assertRaisesRegex(ValueError, "'mine' exists already"):
        self._execute(name, before)

  def test_the_import_system_is_no_origin(self):
    origins = {file for file, _ in methods.METHODS._origins.values()}
    self.assertEmpty([file for file in origins if '<frozen' in file])


class FamilyTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.registry = registry.Registry('colour')
    self.registry.register('red', 0)
    self.registry.register_family(
      r'grey(\d+)', lambda match: int(match[1]), written='grey<percent>'
    )

  def test_get(self):
    self.assertEqual(self.registry.get('grey40'), 40)
    self.assertIn('grey7', self.registry)

  def test_the_whole_name_has_to_match(self):
    for name in ('grey', 'grey40x', 'xgrey40'):
      self.assertNotIn(name, self.registry)
      with self.assertRaisesRegex(ValueError, 'known: red, grey<percent>'):
        self.registry.get(name)

  def test_iteration_leaves_families_out(self):
    self.assertEqual(list(self.registry), ['red'])
    self.assertLen(self.registry, 1)
    self.assertEqual(self.registry.describe(), 'red, grey<percent>')

  def test_a_name_of_a_family_is_taken(self):
    with self.assertRaisesRegex(ValueError, "'grey40' exists already"):
      self.registry.register('grey40', -1)
    self.registry.register('grey40', -1, replace=True)
    self.assertEqual(self.registry['grey40'], -1)
    self.assertEqual(self.registry['grey41'], 41)


if __name__ == '__main__':
  absltest.main()
