"""Architectures are detected by the names and shapes of their arrays."""

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import torch_io
from peeraid_jax.torch_io import detect
from tests.torch_io import networks

# Name -> a width at which the network is created fast.
WIDTHS = {
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


class DetectTest(networks.FilesTestCase):
  @parameterized.parameters(*WIDTHS.items())
  def test_an_architecture_is_detected_and_written_back(self, name, width):
    arrays = networks.state_dict(name, width)
    imported = torch_io.read(self.write({'state_dict': arrays}))
    self.assertEqual(imported.architecture, (name, width, 10, 3))
    written = torch_io.to_state_dict(torch_io.to_net(imported))
    counts = {n for n in written if n.endswith('num_batches_tracked')}
    self.assertEqual(set(written) - counts, set(arrays))
    for key, array in arrays.items():
      np.testing.assert_array_equal(written[key], array)

  def test_unknown_networks_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'no known network'):
      detect.detect({'a.weight': np.zeros(3, np.float32)})
    with self.assertRaisesRegex(ValueError, 'no known network: linear.weight'):
      detect.detect({'linear.weight': np.zeros((10, 3), np.float32)})
    with self.assertRaisesRegex(ValueError, 'stage_sizes'):
      arrays = networks.state_dict('resnet18', 2)
      odd = {n: a for n, a in arrays.items() if not n.startswith('layer4.1')}
      torch_io.read(self.write(odd))

  def test_many_stages_are_counted_at_once(self):
    arrays = networks.state_dict('resnet18', 2)
    kernel = arrays['layer1.0.conv1.weight']
    many = {f'layer{i}.0.conv1.weight': kernel for i in range(1, 9000)}
    with self.assertRaisesRegex(ValueError, 'is none of resnet18, '):
      detect.detect({**arrays, **many})

  def test_arrays_of_another_rank_are_refused(self):
    arrays = networks.state_dict('tiny', 4)
    for name, array in (
      ('linear.weight', np.float32(0)),
      ('conv1.weight', np.zeros((3,), np.float32)),
      ('layer1.0.conv1.weight', np.zeros((0, 3, 3, 3), np.float32)),
    ):
      with self.assertRaisesRegex(ValueError, f'{name} has shape'):
        detect.detect({**arrays, name: array})


if __name__ == '__main__':
  absltest.main()
