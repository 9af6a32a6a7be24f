"""Paths as users give them."""

import os
import re
from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.config import fields
from peeraid_jax.runtime import paths
from tests import helpers


class PathsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.dict(os.environ, {'HOME': '/me'}))

  def test_home(self):
    self.assertEqual(paths.checked('~/x', '--workdir'), '/me/x')
    self.assertEqual(paths.expanded('~'), '/me')

  @parameterized.parameters(
    '', 'a', 'a:b', '/a//b', './~/a', 'a~', 'C:/a', 'a/gs://b', 'x.py:a=b'
  )
  def test_other_paths_stay(self, path):
    self.assertEqual(paths.checked(path, '--workdir'), path)

  @parameterized.parameters(
    ('s3://bucket/run', 'is an address'),
    ('~nobody_of_that_name/x', 'home directory is not known'),
    ('bytes-\udcff', 'not valid UTF-8'),
  )
  def test_what_is_no_path_here(self, path, message):
    with self.assertRaisesRegex(ValueError, f'--workdir={path}.*{message}'):
      paths.checked(path, '--workdir')

  def test_a_config(self):
    config = helpers.config()
    config.data.dir, config.seed = '~/x', 3
    self.assertIs(paths.expand_config(config), config)
    self.assertEqual((config.data.dir, config.seed), ('/me/x', 3))
    config.data.dir = 's3://x'
    paths.expand_config(config, check=False)
    with self.assertRaisesRegex(ValueError, 'config.data.dir=s3://x'):
      paths.expand_config(config)

  def test_every_field_of_a_path_is_known(self):
    for field in fields.FIELDS:
      name = re.sub(r'{\w+}', 'role', field.name)
      means_path = re.match(
        r'(Folder|Archive|PyTorch file|Work dir|FILE)', field.meaning
      )
      self.assertEqual(paths.is_path(name), bool(means_path), name)


if __name__ == '__main__':
  absltest.main()
