"""PyTorch files as the student or the teachers of a run."""

import chex
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import torch_io
from peeraid_jax.training import build, loop
from peeraid_jax.training import torch_files as roles_lib
from tests import helpers
from tests.torch_io import networks, torch_files


class RolesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _write(self, name, width, classes=10, channels=1):
    path = self.folder / f'{name}-{width}.pt'
    arrays = networks.state_dict(name, width, classes, channels)
    return str(torch_files.write_zip(path, arrays))

  def test_the_config_takes_architectures_from_files(self):
    config = helpers.config('rslad')
    config.model.torch = self._write('wideresnet10x1', 64)
    config.teacher.torch = self._write('preactresnet18_rice', 2)
    config.roles.teacher.normalization = 'half'
    descriptions = roles_lib.fill_in(config)
    self.assertLen(descriptions, 2)
    self.assertEqual(config.model.student, 'wideresnet10x1')
    self.assertEqual(config.model.teacher, 'preactresnet18_rice')
    self.assertEqual(config_lib.width(config, 'student'), 64)
    self.assertEqual(config_lib.width(config, 'teacher'), 2)
    self.assertEqual(config_lib.normalization(config, 'student'), 'none')
    self.assertEqual(config_lib.normalization(config, 'teacher'), 'half')

  def test_a_given_normalization_overrides_the_file(self):
    path = self.folder / 'net.safetensors'
    net = torch_io.load(self._write('tiny', 4))
    torch_io.save(
      net.replace(module=net.module.clone(normalization=(0.5, 0.5))), path
    )
    for given, expected in (('', 'half'), ('0.1/0.3', '0.1/0.3')):
      config = helpers.config('rslad')
      config.teacher.torch = str(path)
      config.roles.teacher.normalization = given
      roles_lib.fill_in(config)
      self.assertEqual(config.roles.teacher.normalization, expected)

  def test_a_run_starts_from_them(self):
    config = helpers.config('rslad')
    config.model.torch = self._write('wideresnet10x1', 64)
    config.teacher.torch = self._write('preactresnet18_rice', 2)
    roles_lib.fill_in(config)
    state, sources = loop.initial_state(build.plan(config), self.folder)
    for role, path in (
      ('student', config.model.torch),
      ('student_swa', config.model.torch),
      ('teacher', config.teacher.torch),
    ):
      expected = torch_io.load(path)
      for part in ('params', 'batch_stats'):
        chex.assert_trees_all_equal(
          getattr(state.nets[role], part), getattr(expected, part)
        )
    self.assertEqual(sources['teacher']['torch'], 'preactresnet18_rice-2.pt')
    self.assertIn('wideresnet10x1 of width 64', sources['student']['model'])
    net, source = roles_lib.student(config)
    self.assertEqual(source, sources['student'])
    self.assertEqual(net.module.dtype, jnp.float32)

  def test_the_config_decides_between_equal_architectures(self):
    # Nothing in a file says where the shortcut of a pre-activation block
    # begins.
    path = self._write('preactresnet18', 2)
    config = helpers.config('natural')
    config.model.torch = path
    roles_lib.fill_in(config)
    self.assertEqual(config.model.student, 'preactresnet18')

  @parameterized.parameters((7, 1, '7 classes'), (10, 3, 'with 1 channels'))
  def test_other_data_is_refused(self, classes, channels, message):
    config = helpers.config('natural')
    config.model.torch = self._write('tiny', 4, classes, channels)
    with self.assertRaisesRegex(ValueError, f'config.model.torch.*{message}'):
      roles_lib.fill_in(config)

  def test_a_missing_file_is_named_with_its_field(self):
    config = helpers.config('rslad')
    config.teacher.torch = 'nowhere.pt'
    with self.assertRaisesRegex(
      FileNotFoundError, 'config.teacher.torch: nowhere.pt'
    ):
      roles_lib.fill_in(config)


if __name__ == '__main__':
  absltest.main()
