"""Architectures: sizes, outputs, initialisation, precision, remat."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import models

# model -> parameters for 10, 100 and 200 classes, running statistics; counted
# in PyTorch's definitions.
COUNTS = {
  'resnet18': (11_173_962, 11_220_132, 11_271_432, 9_600),
  'resnet34': (21_282_122, 21_328_292, 21_379_592, 17_024),
  'resnet50': (23_520_842, 23_705_252, 23_910_152, 53_120),
  'resnet18_imagenet': (11_181_642, 11_227_812, 11_279_112, 9_600),
  'resnet50_imagenet': (23_528_522, 23_712_932, 23_917_832, 53_120),
  'preactresnet18': (11_171_146, 11_217_316, 11_268_616, 6_784),
  'preactresnet18_rice': (11_172_170, 11_218_340, 11_269_640, 7_808),
  'dm_preactresnet18': (12_548_426, 12_594_596, 12_645_896, 7_808),
  'wideresnet28x10': (36_479_194, 36_536_884, 36_600_984, 17_952),
  'wideresnet34x10': (46_160_474, 46_218_164, 46_282_264, 22_432),
  'wideresnet34x20': (184_531_674, 184_646_964, 184_775_064, 44_832),
  'wideresnet70x16': (266_796_506, 266_888_756, 266_991_256, 78_880),
  'dm_wideresnet28x10': (36_479_194, 36_536_884, 36_600_984, 17_952),
  'dm_wideresnet70x16': (266_796_506, 266_888_756, 266_991_256, 78_880),
  'mobilenetv2': (2_296_922, 2_412_212, 2_540_312, 35_088),
}


def _size(tree) -> int:
  """Returns the number of scalars in a tree of shapes."""
  return sum(x.size for x in jax.tree.leaves(tree))


def _shapes(name, size=32, **kwargs):
  """Returns the shapes of a network's variables and of its output."""
  module = models.create(name, **{'num_classes': 10, **kwargs})
  images = jnp.zeros((2, size, size, 3))
  output, variables = jax.eval_shape(
    lambda: module.init_with_output(jax.random.key(0), images)
  )
  return variables, output


class ArchitecturesTest(chex.TestCase, parameterized.TestCase):
  def test_every_published_model_has_a_row(self):
    self.assertEqual(set(COUNTS) | {'tiny'}, set(models.MODELS))

  @parameterized.parameters('tiny', 'wideresnet10x1')
  def test_remat_changes_nothing(self, name):
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 3))
    plain, with_remat = (
      models.create(name, num_classes=3, width=4, remat=remat)
      for remat in (False, True)
    )
    variables = jax.jit(plain.init)(jax.random.key(1), images)

    def gradient(module):
      def loss(params):
        output, updated = module.apply(
          {**variables, 'params': params},
          images,
          train=True,
          mutable=['batch_stats'],
        )
        return (output.logits**2).sum(), updated

      return jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables['params']
      )

    chex.assert_trees_all_equal_shapes(
      variables, jax.eval_shape(with_remat.init, jax.random.key(1), images)
    )
    chex.assert_trees_all_close(
      gradient(plain), gradient(with_remat), rtol=1e-4, atol=1e-5
    )
    text = str(jax.make_jaxpr(lambda v: with_remat.apply(v, images))(variables))
    self.assertIn('remat', text)

  @parameterized.parameters(*COUNTS)
  def test_counts(self, name):
    for classes, expected in zip((10, 100, 200), COUNTS[name], strict=False):
      variables, _ = _shapes(name, num_classes=classes)
      self.assertEqual(_size(variables['params']), expected)
    self.assertEqual(_size(variables['batch_stats']), COUNTS[name][3])

  @parameterized.parameters(
    # The last feature map at 32x32, as in PyTorch's definitions.
    ('resnet18', (4, 4, 512)),
    ('resnet50', (4, 4, 2048)),
    ('resnet50_imagenet', (1, 1, 2048)),
    ('preactresnet18', (4, 4, 512)),
    ('wideresnet28x10', (8, 8, 640)),
    ('mobilenetv2', (4, 4, 1280)),
  )
  def test_output(self, name, features):
    _, output = _shapes(name)
    chex.assert_shape(output.logits, (2, 10))
    chex.assert_shape(output.features, (2, *features))
    chex.assert_shape(output.embedding, (2, features[-1]))
    _, output = _shapes(name, size=64)
    height, width, channels = features
    chex.assert_shape(output.features, (2, 2 * height, 2 * width, channels))

  @parameterized.parameters(
    ('resnet18', 'stem_conv', 16),
    ('wideresnet34x10', 'stem_conv', 4),
    ('mobilenetv2', 'stem_conv', 8),
  )
  def test_width(self, name, layer, channels):
    variables, _ = _shapes(name, width=16)
    kernel = variables['params'][layer]['kernel']
    self.assertEqual(kernel.shape, (3, 3, 3, channels))

  def test_bfloat16_computes_and_keeps_float32(self):
    module = models.create('tiny', num_classes=10, width=4, dtype='bfloat16')
    images = jnp.zeros((2, 8, 8, 1))
    variables = jax.jit(module.init)(jax.random.key(0), images)
    output, changed = module.apply(
      variables, images, train=True, mutable=['batch_stats']
    )
    self.assertEqual(output.features.dtype, jnp.bfloat16)
    for arrays in (variables, changed, output.logits, output.embedding):
      for leaf in jax.tree.leaves(arrays):
        self.assertEqual(leaf.dtype, jnp.float32)

  @parameterized.parameters(
    # (model, kernel, bound of a uniform or deviation of a normal)
    ('resnet18', 'stage2_block1/conv1', 'uniform', 1 / np.sqrt(9 * 64)),
    ('mobilenetv2', 'stage2_block1/conv2', 'uniform', 1 / 3),  # depthwise
    ('wideresnet10x4', 'group1_block1/conv1', 'normal', np.sqrt(2 / 576)),
  )
  def test_convolutions_start_as_in_pytorch(self, name, path, kind, size):
    module = models.create(name, num_classes=10)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    block, conv = path.split('/')
    kernel = np.asarray(variables['params'][block][conv]['kernel'])
    if kind == 'uniform':
      self.assertLessEqual(np.abs(kernel).max(), size)
      self.assertGreater(np.abs(kernel).max(), 0.95 * size)
      size /= np.sqrt(3)
    else:
      # Not truncated: a large sample leaves two deviations.
      self.assertGreater(np.abs(kernel).max(), 3 * size)
    self.assertAlmostEqual(kernel.std() / size, 1, delta=0.05)
    bias = np.asarray(variables['params']['linear']['bias'])
    if name.startswith('wide'):
      np.testing.assert_array_equal(bias, 0)
    else:
      self.assertGreater(np.abs(bias).max(), 0)


if __name__ == '__main__':
  absltest.main()
