"""Exported files tell nothing of this machine, and repeat to the byte."""

import getpass
import pathlib
import re

import jax
from absl.testing import absltest, parameterized

import peeraid_jax
from peeraid_jax.export import formats, network
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build, checkpoint
from tests import helpers
from tests.export import runs

# Texts that only this machine's paths have.
PATHS = (
  str(pathlib.Path(peeraid_jax.__file__).parent),
  str(pathlib.Path(jax.__file__).parent),
  str(pathlib.Path.home()) + '/',
  'site-packages',
  'secret_folder',
  '.py',
  f'/{getpass.getuser()}/',
)


class PortableTest(runs.RunTestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.folder / 'secret_folder'
    folder.mkdir()
    config = cls.config.copy_and_resolve_references()
    config.teacher.workdir = str(folder / 'teacher')
    cls.workdir = runs.create_run(folder, config)
    state = parallel.replicate(build.initial_state(build.plan(config)))
    teachers = {'teacher': {'method': 'natural', 'step': 3}}
    checkpoint.save(
      cls.workdir, state, {'best': {}, 'teachers': teachers}, which='latest'
    )

  def _exported(self, format_name, name):
    """Exports below a folder of its own; returns file and card, as bytes."""
    file_format = formats.FORMATS[format_name]
    try:
      file_format.check_libraries()
    except ImportError:
      self.skipTest(f'{format_name} needs libraries of an extra')
    path = helpers.folder(self) / name / f'net{file_format.suffix}'
    path.parent.mkdir()
    network.export(
      self.workdir, format_name=format_name, output=path, which='latest'
    )
    return path.read_bytes(), path.with_name(f'{path.name}.md').read_bytes()

  @parameterized.parameters(*formats.FORMATS)
  def test_no_paths_and_the_same_bytes(self, format_name):
    first = self._exported(format_name, 'first')
    for content in first:
      for text in PATHS:
        self.assertNotIn(text.encode(), content)
      # Neither times nor dates.
      self.assertIsNone(re.search(rb'20\d\d-\d\d-\d\d', content))
    # Another folder, and programs that JAX compiled before.
    jax.clear_caches()
    self.assertEqual(self._exported(format_name, 'second'), first)
    self.assertEqual(self._exported(format_name, 'third'), first)

  def test_other_programs_keep_their_source_files(self):
    before = jax.config.jax_traceback_in_locations_limit
    self._exported('stablehlo', 'first')
    self.assertEqual(jax.config.jax_traceback_in_locations_limit, before)


if __name__ == '__main__':
  absltest.main()
