"""Networks that are written and read again compute the same logits."""

import numpy as np
from absl.testing import absltest

from peeraid_jax import torch_io
from tests.torch_io import networks


class WritingTest(networks.FilesTestCase):
  def test_safetensors_hold_architecture_and_normalization(self):
    path = self.folder / 'net.safetensors'
    net = torch_io.load(
      self.write(networks.state_dict('preactresnet18_rice', 2))
    )
    net = net.replace(module=net.module.clone(normalization=(0.5, 0.5)))
    torch_io.save(net, path)
    imported = torch_io.read(path)
    self.assertEqual(imported.architecture.name, 'preactresnet18_rice')
    self.assertEqual(imported.normalization, 'half')
    again = torch_io.to_net(imported)
    images = networks.images()
    np.testing.assert_array_equal(
      again.eval(images).logits, net.eval(images).logits
    )
    path.write_bytes(path.read_bytes()[:-8])
    with self.assertRaisesRegex(ValueError, 'cannot be read as safetensors'):
      torch_io.read(path)

  def test_temperature_goes_into_the_last_layer(self):
    net = torch_io.load(self.write(networks.state_dict('tiny', 4)))
    warm = net.replace(temperature=5.0)
    path = self.folder / 'net.safetensors'
    torch_io.save(warm, path)
    images = networks.images()
    np.testing.assert_allclose(
      torch_io.load(path).eval(images).logits,
      warm.eval(images).logits,
      rtol=1e-5,
    )


if __name__ == '__main__':
  absltest.main()
