"""Files of every format compute the logits of their network."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data, models, nets
from peeraid_jax.export import formats
from peeraid_jax.training import checkpoint
from tests import helpers
from tests.export import runs


class PatchNet(models.Network):
  """Not a convolutional network: patches, a dense layer, and a mean."""

  @nn.compact
  def __call__(self, images, train: bool = False) -> models.Output:
    del train
    batch, height, width, channels = images.shape
    patches = images.reshape(batch, height // 4, 4, width // 4, 4, channels)
    patches = patches.swapaxes(2, 3).reshape(
      batch, height // 4, width // 4, 16 * channels
    )
    features = nn.gelu(nn.Dense(self.width, name='patch_embedding')(patches))
    embedding = nn.LayerNorm(name='norm')(features).mean(axis=(1, 2))
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return models.Output(logits, features, embedding)


class FormatsTest(runs.RunTestCase, chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    net = checkpoint.restore(cls.workdir, which='best').nets['student']
    cls.net = nets.standalone(net, dtype=np.float32)
    cls.images = data.load('digits', split='test').images[:7] / np.float32(255)

  def test_programs_have_stock_convolutions(self):
    """Programs for other machines have none of the forms for a CPU."""
    net, images = helpers.net(), jnp.zeros((1, 8, 8, 1))
    ours = jax.make_jaxpr(nets.logits_fn(net))(images)
    self.assertIn('custom_vjp', str(ours))
    written = jax.make_jaxpr(formats._float32(net))(images)
    self.assertNotIn('custom_vjp', str(written))

  @parameterized.parameters('stablehlo', 'safetensors')
  def test_logits_are_those_of_the_network(self, format_name):
    path, card = self.export(format_name)
    call = formats.FORMATS[format_name].read(path, self.net)
    expected = jax.jit(lambda x: self.net.eval(x).logits)(self.images)
    for count in (7, 1):
      np.testing.assert_allclose(
        call(self.images[:count]), expected[:count], atol=1e-5
      )
    self.assertIn('On 64 test images its logits are within', card)

  @parameterized.parameters(('onnx', 'onnxruntime'), ('torch', 'torch'))
  def test_formats_of_extras(self, format_name, library):
    try:
      __import__(library)
    except ImportError:
      with self.assertRaisesRegex(ImportError, 'pip install'):
        self.export(format_name)
      return
    path, card = self.export(format_name)
    self.assertIn(path.name, card)


class OwnArchitectureTest(parameterized.TestCase):
  """A registered network that PyTorch's repositories do not have."""

  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    models.register('patch_net', PatchNet, replace=True)
    self.net = nets.create(
      models.create('patch_net', num_classes=3, width=8),
      jax.random.key(0),
      (8, 8, 2),
      temperature=2.0,
    )

  @parameterized.parameters('stablehlo', 'onnx')
  def test_programs(self, format_name):
    file_format = formats.FORMATS[format_name]
    try:
      file_format.check_libraries()
    except ImportError:
      self.skipTest(f'{format_name} needs libraries of an extra')
    file_format.check_network(self.net)
    path = self.folder / f'net{file_format.suffix}'
    file_format.write(self.net, (8, 8, 2), path)
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 2))
    images = images.astype(np.float32)
    call = file_format.read(path, self.net)
    for count in (5, 1):
      np.testing.assert_allclose(
        call(images[:count]),
        self.net.eval(images[:count]).logits,
        atol=1e-5,
      )

  @parameterized.parameters('torch', 'safetensors')
  def test_state_dicts(self, format_name):
    with self.assertRaisesRegex(
      ValueError,
      "PyTorch's repositories have no network like PatchNet; "
      'use stablehlo or onnx',
    ):
      formats.FORMATS[format_name].check_network(self.net)

  def test_unknown_parameters_of_a_known_class(self):
    """A subclass of ours with a layer that PyTorch's networks do not have."""
    resnet = type(models.create('tiny', num_classes=3))

    class Scaled(resnet):
      @nn.compact
      def __call__(self, images, train: bool = False):
        self.param('gain', nn.initializers.ones, (1,))
        return super().__call__(images, train)

    fields = models.create('tiny', num_classes=3, width=4)
    module = Scaled(
      num_classes=3,
      width=4,
      stage_sizes=fields.stage_sizes,
      block=fields.block,
    )
    net = nets.create(module, jax.random.key(0), (8, 8, 1))
    with self.assertRaisesRegex(ValueError, 'no network like Scaled'):
      formats.FORMATS['safetensors'].check_network(net)


if __name__ == '__main__':
  absltest.main()
