"""Experiments: every listed run is a valid config, every result is filed."""

import importlib
import json
import pathlib

from absl.testing import absltest, parameterized

from experiments import run, runs
from peeraid_jax import config as config_lib
from peeraid_jax import validate


def _config(name):
  file, overrides = runs.RUNS[name]
  path, _, argument = file.partition(':')
  module = importlib.import_module(f'configs.{pathlib.Path(path).stem}')
  config = module.get_config(argument or None)
  config.lock()
  config.update_from_flattened_dict(overrides)
  return config


class RunsTest(parameterized.TestCase):
  @parameterized.parameters(*runs.RUNS)
  def test_config_is_valid(self, name):
    validate.validate(_config(name))

  def test_results_are_of_the_listed_runs(self):
    """What is filed was made with what is listed, by committed code."""
    for path in sorted(run.RESULTS.glob('*.json')):
      with self.subTest(path.stem):
        found = json.loads(path.read_text())
        listed = config_lib.to_json(_config(path.stem))
        self.assertEqual(config_lib.differences(found['config'], listed), {})
        self.assertRegex(found['commit'], '^[0-9a-f]{40}$')
        for part in ('device', 'versions', 'seed', 'roles', 'history'):
          self.assertIn(part, found)

  def test_command(self):
    command = run.command('digits_natural_seed2', ['--config.data.dir=/x'])
    self.assertIn('--config=configs/digits.py:method=natural', command)
    self.assertIn('--config.seed=2', command)
    self.assertEqual(command[-1], '--config.data.dir=/x')


if __name__ == '__main__':
  absltest.main()
