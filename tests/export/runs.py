"""A run whose networks are as they were initialised, for tests of exports."""

import pathlib

from absl.testing import parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import files
from peeraid_jax.export import formats, network
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build, checkpoint
from tests import helpers


def create_run(folder: pathlib.Path, config) -> pathlib.Path:
  """Saves the initial state of a config; returns the work directory."""
  workdir = folder / 'run'
  workdir.mkdir()
  files.write_json(workdir / 'config.json', config_lib.to_json(config))
  state = parallel.replicate(build.initial_state(build.plan(config)))
  checkpoint.save(workdir, state, {'best': {}}, which='best')
  return workdir


class RunTestCase(parameterized.TestCase):
  """Tests that export the student of a tiny LTD run.

  The student has everything that an export has to keep: a temperature, a
  normalization, and bfloat16, of which files compute in float32.
  """

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    cls.config = helpers.config(
      'ltd', roles__student__temperature=2.0, dtype='bfloat16'
    )
    cls.config.model.normalization = 'half'
    cls.workdir = create_run(cls.folder, cls.config)

  def export(self, format_name: str, **options) -> tuple[pathlib.Path, str]:
    """Exports a network; returns the path of the file, and its card."""
    suffix = formats.FORMATS[format_name].suffix
    path = network.export(
      self.workdir,
      format_name=format_name,
      output=self.folder / f'{self.id()}{suffix}',
      **options,
    )
    return path, path.with_name(path.name + '.md').read_text()
