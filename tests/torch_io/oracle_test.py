"""Networks of PyTorch's files compute the same logits here and in PyTorch.

pip install -e '.[oracle]'
"""

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import torch_io
from tests import helpers

pytestmark = pytest.mark.slow
torch = pytest.importorskip('torch')
from experiments.benchmarks import torch_nets  # noqa: E402

_ResNet, _Wide = torch_nets.ResNet, torch_nets.WideResNet
# Name here -> the same network in PyTorch.
FAMILIES = {
  'resnet18': lambda: _ResNet((2, 2, 2, 2), 8, 10),
  'resnet34': lambda: _ResNet((3, 4, 6, 3), 8, 10),
  'resnet50': lambda: _ResNet((3, 4, 6, 3), 8, 10, 'bottleneck'),
  'resnet18_imagenet': lambda: _ResNet((2, 2, 2, 2), 8, 10, 'basic', True),
  'resnet50_imagenet': lambda: _ResNet((3, 4, 6, 3), 8, 10, 'bottleneck', True),
  'preactresnet18': lambda: _ResNet((2, 2, 2, 2), 8, 10, 'preact'),
  'preactresnet18_rice': lambda: _ResNet((2, 2, 2, 2), 8, 10, 'preact_rice'),
  'wideresnet16x2': lambda: _Wide(16, 2, 10),
  'wideresnet28x2': lambda: _Wide(28, 2, 100, dead=True),
  'wideresnet10x1': lambda: torch_nets.Projected(_Wide(10, 1, 10)),
  'mobilenetv2': lambda: torch_nets.MobileNetV2(10),
  'dm_wideresnet16x2': lambda: torch_nets.DeepMindWideResNet(16, 2, 10),
  'dm_preactresnet18': lambda: torch_nets.DeepMindPreActResNet(8, 10),
}
# How repositories save a network.
WRAPS = {
  'plain': lambda model: model.state_dict(),
  'parallel': lambda model: {
    'state_dict': torch.nn.DataParallel(model).state_dict(),
    'optimizer': torch.optim.SGD(model.parameters(), 0.1).state_dict(),
    'epoch': 3,
  },
  'whole': lambda model: {'net': model, 'acc': 0.5},
}


class TorchOracleTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    cls.x = torch.rand((4, 3, 32, 32), generator=generator)
    cls.images = cls.x.numpy().transpose(0, 2, 3, 1)

  def setUp(self):
    super().setUp()
    self.path = helpers.folder(self) / 'net.pt'

  def _logits(self, net):
    return jax.jit(lambda x: net.eval(x).logits)(self.images)

  @parameterized.product(name=tuple(FAMILIES), zipped=(True, False))
  def test_logits(self, name, zipped):
    model = torch_nets.filled(FAMILIES[name]())
    wrap = WRAPS['parallel' if zipped else 'plain']
    torch.save(wrap(model), self.path, _use_new_zipfile_serialization=zipped)
    imported = torch_io.read(self.path)
    self.assertEqual(imported.architecture.name, name)
    with torch.no_grad():
      expected = model(self.x).numpy()
    self.assertGreater(np.abs(expected).max(), 0.1)
    np.testing.assert_allclose(
      self._logits(torch_io.to_net(imported)), expected, atol=1e-4
    )

  @parameterized.parameters(*WRAPS)
  def test_wrappers(self, wrap):
    inner = FAMILIES['resnet18']()
    model = torch_nets.filled(torch_nets.Normalised(inner))
    torch.save(WRAPS[wrap](model), self.path)
    with torch.no_grad():
      expected = model(self.x).numpy()
    np.testing.assert_allclose(
      self._logits(torch_io.load(self.path)), expected, atol=1e-4
    )

  # Without the network whose projection head is left out.
  @parameterized.parameters(*(n for n in FAMILIES if n != 'wideresnet10x1'))
  def test_pytorch_loads_what_is_written(self, name):
    model = torch_nets.filled(FAMILIES[name]())
    torch.save(model.state_dict(), self.path)
    torch_io.save(torch_io.load(self.path), self.path)
    written = torch.load(self.path, weights_only=True)
    other = FAMILIES[name]()
    keys = other.load_state_dict(written, strict=False)
    self.assertEmpty(keys.unexpected_keys)
    # The block that TRADES' WideResNet never calls.
    self.assertEmpty([n for n in keys.missing_keys if 'sub_block' not in n])
    with torch.no_grad():
      np.testing.assert_array_equal(other.eval()(self.x), model(self.x))


if __name__ == '__main__':
  absltest.main()
