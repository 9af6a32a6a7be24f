"""Networks are read; arrays that do not fit are refused."""

import numpy as np
from absl.testing import absltest

from peeraid_jax import torch_io
from tests.torch_io import networks


class ReadingTest(networks.FilesTestCase):
  def test_deepmind_normalises_by_numbers_in_its_code(self):
    for classes, expected in ((10, 'cifar10'), (100, 'cifar100'), (7, '')):
      path = self.write(networks.state_dict('dm_preactresnet18', 2, classes))
      self.assertEqual(torch_io.read(path).normalization, expected)
    with self.assertRaisesRegex(ValueError, 'give its normalization'):
      torch_io.load(path)
    net = torch_io.load(path, normalization='half')
    self.assertEqual(net.module.normalization, (0.5, 0.5))

  def test_what_does_not_fit_is_listed(self):
    arrays = networks.state_dict('tiny', 4)
    del arrays['layer1.0.bn2.bias']
    arrays['layer1.0.conv3.bias'] = np.zeros(3, np.float32)
    arrays['linear.bias'] = np.zeros(3, np.float32)
    with self.assertRaisesRegex(
      ValueError,
      r'missing: layer1\.0\.bn2\.bias; unexpected: layer1\.0\.conv3\.bias; '
      r'of another shape: linear\.bias is \(3,\), not \(10,\)',
    ):
      torch_io.read(self.write(arrays))
    with self.assertRaisesRegex(ValueError, 'as wideresnet28x10: missing'):
      torch_io.read(
        self.write(networks.state_dict('tiny', 4)),
        architecture='wideresnet28x10',
      )
    with self.assertRaisesRegex(ValueError, 'no parameters of a network'):
      torch_io.read(self.write({'epoch': 3}))
    with self.assertRaisesRegex(ValueError, 'no known network'):
      torch_io.read(self.write({'a.weight': np.zeros(3, np.float32)}))


if __name__ == '__main__':
  absltest.main()
