"""Where compiled programs are kept."""

import os
import pathlib
import subprocess
import sys

from absl.testing import absltest, parameterized

ASK = """
import jax
from peeraid_jax import compilation_cache
compilation_cache.enable()
print(jax.config.jax_compilation_cache_dir)
print(jax.config.jax_persistent_cache_min_compile_time_secs)
"""


def _ask(**environment) -> list[str]:
  kept = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
  done = subprocess.run(
    [sys.executable, '-c', ASK],
    env={**kept, 'JAX_PLATFORMS': 'cpu', **environment},
    capture_output=True,
    text=True,
    check=True,
    cwd=pathlib.Path(__file__).parent.parent,
  )
  return done.stdout.split()


class CompilationCacheTest(parameterized.TestCase):
  def test_in_the_users_cache(self):
    folder, seconds = _ask(XDG_CACHE_HOME='/there')
    self.assertRegex(folder, r'^/there/peeraid_jax/\w+-[0-9a-f]{8}$')
    self.assertEqual(float(seconds), 0)

  def test_in_the_home(self):
    folder, _ = _ask(XDG_CACHE_HOME='', HOME='/me')
    self.assertStartsWith(folder, '/me/.cache/peeraid_jax/')

  def test_what_the_user_said_goes_first(self):
    given = {'JAX_COMPILATION_CACHE_DIR': '/mine'}
    self.assertEqual(_ask(**given)[0], '/mine')
    self.assertEqual(float(_ask(**given)[1]), 1)
    seconds = {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '5'}
    self.assertEqual(float(_ask(**seconds)[1]), 5)


if __name__ == '__main__':
  absltest.main()
