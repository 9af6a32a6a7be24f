"""Networks are found among everything else that repositories save."""

import numpy as np
from absl.testing import absltest

from peeraid_jax import torch_io
from tests.torch_io import networks, torch_files


class StateDictsTest(networks.FilesTestCase):
  def test_wrappers_with_a_normalization(self):
    inner = networks.state_dict('tiny', 4)
    wrapped = {
      'module.mu': np.full((1, 3, 1, 1), 0.5, np.float32),
      'module.sigma': np.full((1, 3, 1, 1), 0.25, np.float32),
      **{f'module.model.{name}': array for name, array in inner.items()},
      'module.model.bn1.num_batches_tracked': np.array(3),
      'module.model.sub_block1.layer.0.bn1.weight': np.zeros(3, np.float32),
    }
    imported = torch_io.read(self.write({'last': wrapped}))
    self.assertEqual(imported.normalization, '0.5,0.5,0.5/0.25,0.25,0.25')
    self.assertEqual(set(imported.arrays), set(inner))
    self.assertEqual(imported.source['key'], 'last')
    mean, std = torch_io.to_net(imported).module.normalization
    self.assertEqual((mean, std), ((0.5,) * 3, (0.25,) * 3))

  def test_a_projection_beside_the_encoder_is_left_out(self):
    inner = networks.state_dict('wideresnet10x1', 64)
    content = {f'encoder.{name}': array for name, array in inner.items()}
    content |= {'head.0.weight': np.zeros((3, 3), np.float32)}
    imported = torch_io.read(self.write(content))
    self.assertEqual(imported.architecture.name, 'wideresnet10x1')

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

    inner = networks.state_dict('tiny', 4)
    tree: dict = {}
    for name, array in inner.items():
      *path, last = name.split('.')
      node = tree
      for part in path:
        node = node.setdefault(part, {})
      node[last] = array

    def build(node):
      arrays = {k: v for k, v in node.items() if isinstance(v, np.ndarray)}
      children = {k: build(v) for k, v in node.items() if isinstance(v, dict)}
      return module(arrays, children)

    imported = torch_io.read(self.write(build({'module': tree})))
    self.assertEqual(set(imported.arrays), set(inner))

  def test_several_networks_in_a_file(self):
    one, other = networks.state_dict('tiny', 4), networks.state_dict('tiny', 8)
    path = self.write({'ema': {'a': one}, 'swa': other, 'epoch': 3})
    with self.assertRaisesRegex(ValueError, 'several networks, ema.a, swa'):
      torch_io.read(path)
    imported = torch_io.read(path, key='ema.a')
    self.assertEqual(imported.architecture.width, 4)
    with self.assertRaisesRegex(ValueError, "'peer' is none of its networks"):
      torch_io.read(path, key='peer')
    path = self.write({'state_dict': one, 'swa_state_dict': other})
    self.assertEqual(torch_io.read(path).architecture.width, 4)


if __name__ == '__main__':
  absltest.main()
