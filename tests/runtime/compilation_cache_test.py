"""The folder of the compilation cache."""

import os
import pathlib
import subprocess
import sys

from absl.testing import absltest, parameterized

REPORT_CACHE = """
import jax
from peeraid_jax.runtime import compilation_cache
compilation_cache.enable()
print(jax.config.jax_compilation_cache_dir)
print(jax.config.jax_persistent_cache_min_compile_time_secs)
"""


def _cache_settings(**environment) -> list[str]:
  """Returns cache folder and least compile time with these variables."""
  kept = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
  process = subprocess.run(
    [sys.executable, '-c', REPORT_CACHE],
    env={**kept, 'JAX_PLATFORMS': 'cpu', **environment},
    capture_output=True,
    text=True,
    check=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  return process.stdout.split()


class CompilationCacheTest(parameterized.TestCase):
  def test_in_the_users_cache(self):
    folder, seconds = _cache_settings(XDG_CACHE_HOME='/there')
    self.assertRegex(folder, r'^/there/peeraid_jax/\w+-[0-9a-f]{8}$')
    self.assertEqual(float(seconds), 0)

  def test_in_the_home(self):
    folder, _ = _cache_settings(XDG_CACHE_HOME='', HOME='/me')
    self.assertStartsWith(folder, '/me/.cache/peeraid_jax/')

  def test_settings_of_the_user_take_precedence(self):
    folder = {'JAX_COMPILATION_CACHE_DIR': '/mine'}
    self.assertEqual(_cache_settings(**folder)[0], '/mine')
    self.assertEqual(float(_cache_settings(**folder)[1]), 1)
    seconds = {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '5'}
    self.assertEqual(float(_cache_settings(**seconds)[1]), 5)


if __name__ == '__main__':
  absltest.main()
