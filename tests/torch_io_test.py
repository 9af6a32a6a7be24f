"""Networks as PyTorch names them: found, checked, and back."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import models, torch_io, torch_roles, train
from tests import helpers, torch_files

# name -> width at which it is quick to make
NAMES = {
  'tiny': 4,
  'resnet18': 2,
  'resnet34': 2,
  'resnet50': 2,
  'resnet18_imagenet': 2,
  'resnet50_imagenet': 2,
  'preactresnet18': 2,
  'preactresnet18_rice': 2,
  'dm_preactresnet18': 2,
  'wideresnet10x2': 64,
  'wideresnet28x10': 4,
  'dm_wideresnet10x2': 64,
  'mobilenetv2': 4,
}


def state_dict(name: str, width: int, classes: int = 10, channels: int = 3):
  """Random arrays of a network, named as in PyTorch."""
  module = models.create(name, num_classes=classes, width=width)
  rng = np.random.default_rng(0)
  return {
    leaf.name: rng.uniform(0.1, 1, leaf.shape).astype(np.float32)
    for leaf in torch_io.layouts.leaves(module, channels)
  }


class TorchIoTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _write(self, content, name='net.pt'):
    return torch_files.write_zip(self.folder / name, content)

  @parameterized.parameters(*NAMES.items())
  def test_a_network_is_told_by_its_arrays(self, name, width):
    arrays = state_dict(name, width)
    found = torch_io.read(self._write({'state_dict': arrays}))
    self.assertEqual(found.architecture, (name, width, 10, 3))
    back = torch_io.to_state_dict(torch_io.to_net(found))
    counts = {n for n in back if n.endswith('num_batches_tracked')}
    self.assertEqual(set(back) - counts, set(arrays))
    for key, array in arrays.items():
      np.testing.assert_array_equal(back[key], array)

  def test_deepmind_normalises_by_what_the_file_does_not_say(self):
    for classes, expected in ((10, 'cifar10'), (100, 'cifar100'), (7, '')):
      path = self._write(state_dict('dm_preactresnet18', 2, classes))
      self.assertEqual(torch_io.read(path).normalization, expected)
    with self.assertRaisesRegex(ValueError, 'give its normalization'):
      torch_io.load(path)
    net = torch_io.load(path, normalization='half')
    self.assertEqual(net.module.normalization, (0.5, 0.5))

  def test_wrappers_and_their_numbers(self):
    inner = state_dict('tiny', 4)
    wrapped = {
      'module.mu': np.full((1, 3, 1, 1), 0.5, np.float32),
      'module.sigma': np.full((1, 3, 1, 1), 0.25, np.float32),
      **{f'module.model.{name}': array for name, array in inner.items()},
      'module.model.bn1.num_batches_tracked': np.array(3),
      'module.model.sub_block1.layer.0.bn1.weight': np.zeros(3, np.float32),
    }
    found = torch_io.read(self._write({'last': wrapped}))
    self.assertEqual(found.normalization, '0.5,0.5,0.5/0.25,0.25,0.25')
    self.assertEqual(set(found.arrays), set(inner))
    self.assertEqual(found.source['key'], 'last')
    mean, std = torch_io.to_net(found).module.normalization
    self.assertEqual((mean, std), ((0.5,) * 3, (0.25,) * 3))

  def test_a_projection_beside_the_encoder_is_left_out(self):
    inner = state_dict('wideresnet10x1', 64)
    content = {f'encoder.{name}': array for name, array in inner.items()}
    content |= {'head.0.weight': np.zeros((3, 3), np.float32)}
    found = torch_io.read(self._write(content))
    self.assertEqual(found.architecture.name, 'wideresnet10x1')

  def test_a_whole_module(self):
    def module(parameters, children):
      state = {
        '_parameters': parameters,
        '_buffers': {},
        '_modules': children,
        'training': True,
      }
      named = torch_files.Named('models.resnet', 'ResNet')
      return torch_files.Called(named, state=state)

    inner = state_dict('tiny', 4)
    tree: dict = {}
    for name, array in inner.items():
      *path, last = name.split('.')
      at = tree
      for part in path:
        at = at.setdefault(part, {})
      at[last] = array

    def build(at):
      arrays = {k: v for k, v in at.items() if isinstance(v, np.ndarray)}
      children = {k: build(v) for k, v in at.items() if isinstance(v, dict)}
      return module(arrays, children)

    found = torch_io.read(self._write(build({'module': tree})))
    self.assertEqual(set(found.arrays), set(inner))

  def test_several_networks_in_a_file(self):
    one, other = state_dict('tiny', 4), state_dict('tiny', 8)
    path = self._write({'ema': {'a': one}, 'swa': other, 'epoch': 3})
    with self.assertRaisesRegex(ValueError, 'several networks, ema.a, swa'):
      torch_io.read(path)
    found = torch_io.read(path, key='ema.a')
    self.assertEqual(found.architecture.width, 4)
    with self.assertRaisesRegex(ValueError, "'peer' is none of its networks"):
      torch_io.read(path, key='peer')
    path = self._write({'state_dict': one, 'swa_state_dict': other})
    self.assertEqual(torch_io.read(path).architecture.width, 4)

  def test_what_does_not_fit_is_listed(self):
    arrays = state_dict('tiny', 4)
    del arrays['layer1.0.bn2.bias']
    arrays['layer1.0.conv3.bias'] = np.zeros(3, np.float32)
    arrays['linear.bias'] = np.zeros(3, np.float32)
    with self.assertRaisesRegex(
      ValueError,
      r'missing: layer1\.0\.bn2\.bias; unexpected: layer1\.0\.conv3\.bias; '
      r'of another shape: linear\.bias is \(3,\), not \(10,\)',
    ):
      torch_io.read(self._write(arrays))
    with self.assertRaisesRegex(ValueError, 'as wideresnet28x10: missing'):
      torch_io.read(
        self._write(state_dict('tiny', 4)), architecture='wideresnet28x10'
      )
    with self.assertRaisesRegex(ValueError, 'no parameters of a network'):
      torch_io.read(self._write({'epoch': 3}))
    with self.assertRaisesRegex(ValueError, 'no known network'):
      torch_io.read(self._write({'a.weight': np.zeros(3, np.float32)}))
    with self.assertRaisesRegex(ValueError, 'stage_sizes'):
      arrays = state_dict('resnet18', 2)
      odd = {n: a for n, a in arrays.items() if not n.startswith('layer4.1')}
      torch_io.read(self._write(odd))

  def test_safetensors_carry_what_they_are(self):
    path = self.folder / 'net.safetensors'
    net = torch_io.load(self._write(state_dict('preactresnet18_rice', 2)))
    net = net.replace(module=net.module.clone(normalization=(0.5, 0.5)))
    torch_io.save(net, path)
    found = torch_io.read(path)
    self.assertEqual(found.architecture.name, 'preactresnet18_rice')
    self.assertEqual(found.normalization, 'half')
    again = torch_io.to_net(found)
    images = np.random.default_rng(1).uniform(size=(2, 8, 8, 3))
    images = images.astype(np.float32)
    np.testing.assert_array_equal(
      again.eval(images).logits, net.eval(images).logits
    )
    path.write_bytes(path.read_bytes()[:-8])
    with self.assertRaisesRegex(ValueError, 'cannot be read as safetensors'):
      torch_io.read(path)

  def test_temperature_goes_into_the_last_layer(self):
    net = torch_io.load(self._write(state_dict('tiny', 4)))
    warm = net.replace(temperature=5.0)
    path = self.folder / 'net.safetensors'
    torch_io.save(warm, path)
    images = np.random.default_rng(1).uniform(size=(2, 8, 8, 3))
    images = images.astype(np.float32)
    np.testing.assert_allclose(
      torch_io.load(path).eval(images).logits,
      warm.eval(images).logits,
      rtol=1e-5,
    )


class TorchRolesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _write(self, name, width, classes=10, channels=1):
    path = self.folder / f'{name}-{width}.pt'
    arrays = state_dict(name, width, classes, channels)
    return str(torch_files.write_zip(path, arrays))

  def test_files_say_which_networks_they_are(self):
    config = helpers.config('rslad')
    config.model.torch = self._write('wideresnet10x1', 64)
    config.teacher.torch = self._write('preactresnet18_rice', 2)
    config.model.teacher_normalization = 'half'
    told = torch_roles.fill_in(config)
    self.assertLen(told, 2)
    self.assertEqual(config.model.student, 'wideresnet10x1')
    self.assertEqual(config.model.teacher, 'preactresnet18_rice')
    self.assertEqual(config_lib.width(config, 'student'), 64)
    self.assertEqual(config_lib.width(config, 'teacher'), 2)
    self.assertEqual(config_lib.normalization(config, 'student'), 'none')
    self.assertEqual(config_lib.normalization(config, 'teacher'), 'half')

  def test_what_is_given_goes_before_what_the_file_says(self):
    path = self.folder / 'net.safetensors'
    net = torch_io.load(self._write('tiny', 4))
    torch_io.save(
      net.replace(module=net.module.clone(normalization=(0.5, 0.5))), path
    )
    for given, expected in (('', 'half'), ('0.1/0.3', '0.1/0.3')):
      config = helpers.config('rslad')
      config.teacher.torch = str(path)
      config.model.teacher_normalization = given
      torch_roles.fill_in(config)
      self.assertEqual(config.model.teacher_normalization, expected)

  def test_they_are_where_a_run_begins(self):
    config = helpers.config('rslad')
    config.model.torch = self._write('wideresnet10x1', 64)
    config.teacher.torch = self._write('preactresnet18_rice', 2)
    torch_roles.fill_in(config)
    state, told = train.initial_state(config, self.folder)
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
    self.assertEqual(told['teacher']['torch'], 'preactresnet18_rice-2.pt')
    self.assertIn('wideresnet10x1 of width 64', told['student']['model'])
    net, source = torch_roles.student(config)
    self.assertEqual(source, told['student'])
    self.assertEqual(net.module.dtype, jnp.float32)

  def test_a_config_decides_what_a_file_leaves_open(self):
    # Where the shortcut of a pre-activation block begins.
    path = self._write('preactresnet18', 2)
    config = helpers.config('natural')
    config.model.torch = path
    torch_roles.fill_in(config)
    self.assertEqual(config.model.student, 'preactresnet18')

  @parameterized.parameters((7, 1, '7 classes'), (10, 3, 'with 1 channels'))
  def test_other_data_is_refused(self, classes, channels, says):
    config = helpers.config('natural')
    config.model.torch = self._write('tiny', 4, classes, channels)
    with self.assertRaisesRegex(ValueError, f'config.model.torch.*{says}'):
      torch_roles.fill_in(config)

  def test_a_missing_file_is_named_with_its_field(self):
    config = helpers.config('rslad')
    config.teacher.torch = 'nowhere.pt'
    with self.assertRaisesRegex(
      FileNotFoundError, 'config.teacher.torch: nowhere.pt'
    ):
      torch_roles.fill_in(config)


if __name__ == '__main__':
  absltest.main()
