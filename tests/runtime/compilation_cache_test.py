"""The folder of the compilation cache."""

import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.runtime import compilation_cache
from tests import helpers

REPORT_CACHE = """
import jax
from peeraid_jax.runtime import compilation_cache
compilation_cache.enable()
print(jax.config.jax_compilation_cache_dir)
print(jax.config.jax_persistent_cache_min_compile_time_secs)
print(jax.config.jax_compilation_cache_max_size)
"""


def _cache_settings(**environment) -> list[str]:
  """Returns cache folder, least compile time and size with these variables."""
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
    there = helpers.folder(self)
    folder, seconds, size = _cache_settings(XDG_CACHE_HOME=str(there))
    self.assertRegex(folder, rf'^{there}/peeraid_jax/\w+-[0-9a-f]{{8}}$')
    self.assertEqual(float(seconds), 0)
    self.assertEqual(int(size), 2 * 2**30)

  def test_in_the_home(self):
    for cache in ('', 'relative'):
      environment = {'XDG_CACHE_HOME': cache, 'HOME': '/me'}
      with mock.patch.dict(os.environ, environment):
        folder = str(compilation_cache.default_folder())
      self.assertStartsWith(folder, '/me/.cache/peeraid_jax/')

  def test_settings_of_the_user_take_precedence(self):
    there = str(helpers.folder(self))
    environment = {'JAX_COMPILATION_CACHE_DIR': '/mine'}
    folder, seconds, size = _cache_settings(**environment)
    self.assertEqual((folder, float(seconds), int(size)), ('/mine', 1, -1))
    environment = {
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '5',
      'JAX_COMPILATION_CACHE_MAX_SIZE': '77',
      'XDG_CACHE_HOME': there,
    }
    folder, seconds, size = _cache_settings(**environment)
    self.assertStartsWith(folder, there)
    self.assertEqual((float(seconds), int(size)), (5, 77))


if __name__ == '__main__':
  absltest.main()
