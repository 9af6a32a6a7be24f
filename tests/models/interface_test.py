"""Fields that all networks have: how convolutions are computed, the axis."""

from unittest import mock

import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import models
from peeraid_jax.models import layers


def _program(module) -> str:
  """The traced program of a network; 'custom_vjp' marks the forms for CPUs."""
  images = jnp.zeros((1, 8, 8, 1))
  variables = jax.eval_shape(module.init, jax.random.key(0), images)
  return str(jax.make_jaxpr(lambda v, x: module.apply(v, x))(variables, images))


class ConvolutionsTest(parameterized.TestCase):
  @parameterized.parameters(('auto', True), ('cpu', True), ('stock', False))
  def test_networks(self, convolutions, has_forms_for_cpu):
    for name in ('tiny', 'wideresnet10x1', 'mobilenetv2'):
      module = models.create(
        name, num_classes=2, width=4, convolutions=convolutions
      )
      self.assertEqual('custom_vjp' in _program(module), has_forms_for_cpu)

  @parameterized.parameters(
    ('auto', 'cpu', True),
    ('auto', 'gpu', False),
    ('cpu', 'gpu', True),
    ('stock', 'cpu', False),
  )
  def test_auto_depends_on_the_backend(self, convolutions, backend, expected):
    images, kernel = jnp.ones((1, 8, 8, 8)), jnp.ones((3, 3, 8, 8))
    with mock.patch.object(jax, 'default_backend', lambda: backend):
      traced = jax.make_jaxpr(
        lambda x, k: layers.conv_general_dilated(
          x,
          k,
          (1, 1),
          ((1, 1), (1, 1)),
          dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
          convolutions=convolutions,
        )
      )(images, kernel)
    self.assertEqual('custom_vjp' in str(traced), expected)


class StandaloneTest(absltest.TestCase):
  def test_only_the_axis_is_removed(self):
    module = models.create('tiny', num_classes=2, width=4, axis_name='devices')
    expected = models.create('tiny', num_classes=2, width=4)
    self.assertEqual(models.standalone(module), expected)
    self.assertEqual(models.standalone(expected), expected)

  def test_changes(self):
    module = models.create('tiny', num_classes=2, width=4)
    changed = models.standalone(
      module, dtype=jnp.bfloat16, convolutions='stock'
    )
    self.assertEqual(changed.dtype, jnp.bfloat16)
    self.assertNotIn('custom_vjp', _program(changed))
    with self.assertRaisesRegex(ValueError, 'gpu.*known: auto, stock, cpu'):
      models.standalone(module, convolutions='gpu')


if __name__ == '__main__':
  absltest.main()
