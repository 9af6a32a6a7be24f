"""The convolutions for CPUs equal the stock ones."""

import chex
import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import models
from peeraid_jax.models import cpu_conv

# Padding by one pixel on every side.
ONE = ((1, 1), (1, 1))


class CpuConvTest(parameterized.TestCase):
  @parameterized.parameters(
    # batch, (rows, columns), channels in and out, kernel, stride, padding,
    # groups
    (2, (8, 8), 3, 4, 3, 1, ONE, 1),  # eight columns at once
    (2, (5, 12), 16, 16, 3, 1, ONE, 1),  # two
    (2, (8, 8), 8, 3, 5, 1, ((2, 2), (2, 2)), 1),
    (2, (6, 9), 8, 8, 3, 1, ((0, 2), (3, 0)), 1),  # outputs: 6 x 10
    (2, (7, 7), 8, 8, 3, 1, ONE, 1),  # does not divide
    (2, (8, 8), 20, 70, 3, 1, ONE, 1),  # many channels
    (3, (8, 6), 64, 70, 3, 1, ONE, 1),  # Winograd's
    (3, (6, 8), 70, 64, 3, 1, ONE, 1),
    (3, (7, 8), 64, 64, 3, 1, ONE, 1),  # not: odd
    (3, (8, 8), 64, 64, 3, 1, ((0, 2), (1, 1)), 1),  # nor with other padding
    (2, (8, 6), 4, 6, 3, 2, ONE, 1),  # phases of a stride
    (2, (7, 7), 4, 6, 3, 2, ONE, 1),  # the last row stays unused
    (2, (8, 9), 4, 6, 3, 2, ((0, 1), (0, 1)), 1),
    (2, (12, 12), 3, 8, 7, 2, ((3, 3), (3, 3)), 1),
    (2, (9, 8), 4, 6, 3, 3, ((2, 0), (1, 2)), 1),
    (2, (8, 8), 20, 6, 3, 2, ONE, 1),
    (2, (8, 8), 4, 6, 1, 1, ((0, 0), (0, 0)), 1),
    (2, (8, 7), 4, 6, 1, 2, ((0, 0), (0, 0)), 1),
    (2, (8, 8), 4, 6, 1, 1, ONE, 1),
    (32, (8, 8), 4, 6, 3, 1, ONE, 1),  # the kernel's gradient in parts
    (48, (16, 16), 3, 64, 3, 2, ONE, 1),
    (24, (8, 8), 4, 6, 3, 1, ONE, 1),  # parts that do not divide
    (2, (1, 1), 6, 5, 3, 1, ONE, 1),  # one matrix product
    (2, (2, 2), 6, 5, 3, 1, ONE, 1),
    (2, (3, 1), 6, 5, 3, 1, ONE, 1),
    (2, (2, 2), 6, 5, 3, 2, ONE, 1),
    (2, (3, 4), 6, 5, 3, 3, ((0, 2), (1, 0)), 1),
    (2, (2, 1), 6, 5, 7, 2, ((3, 3), (3, 3)), 1),
    (2, (1, 1), 6, 6, 3, 1, ONE, 6),
    (2, (8, 8), 6, 6, 3, 2, ONE, 6),
    (2, (5, 5), 6, 6, 3, 1, ONE, 6),
  )
  def test_is_the_stock_one(
    self, batch, shape, inputs, outputs, size, stride, padding, groups
  ):
    args = (stride, stride), padding, groups
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (batch, *shape, inputs))
    kernel = jax.random.normal(keys[1], (size, size, inputs // groups, outputs))
    expected = jax.eval_shape(
      lambda x, k: cpu_conv.stock(x, k, *args), images, kernel
    )
    cotangent = jax.random.normal(keys[2], expected.shape)

    def result_and_gradients(function):
      def compute(images, kernel):
        result, pull = jax.vjp(
          lambda x, k: function(x, k, *args), images, kernel
        )
        return result, pull(cotangent)

      return jax.jit(compute)(images, kernel)

    # Sums of thousands of products in another order.
    chex.assert_trees_all_close(
      result_and_gradients(cpu_conv.conv),
      result_and_gradients(cpu_conv.stock),
      rtol=1e-4,
      atol=1e-3,
    )

  def test_low_memory(self):
    images, kernel = jnp.ones((2, 8, 8, 64)), jnp.ones((3, 3, 64, 64))

    def program(low_memory):
      apply = lambda x: cpu_conv.conv(
        x, kernel, (1, 1), ONE, 1, low_memory=low_memory
      )
      return str(jax.make_jaxpr(jax.grad(lambda x: apply(x).sum()))(images))

    # Winograd's form consists of matrix products.
    self.assertIn('dot_general', program(False))
    self.assertNotIn('dot_general', program(True))
    for remat in (False, True):
      module = models.create('tiny', num_classes=2, width=64, remat=remat)
      images = images[..., :3]
      variables = jax.eval_shape(module.init, jax.random.key(0), images)
      text = str(jax.make_jaxpr(module.apply)(variables, images))
      # The last layer is one matrix product; networks with remat have no other.
      self.assertEqual(text.count('dot_general[') > 1, not remat)

  def test_parts_of_half_precision_are_summed_in_float32(self):
    images, kernel = jnp.ones((1024, 8, 8, 1)), jnp.ones((3, 3, 1, 1))

    def grad(dtype):
      apply = lambda k: cpu_conv.conv(
        images.astype(dtype), k, (1, 1), ONE, 1
      ).sum(dtype=jnp.float32)
      return jax.jit(jax.grad(apply))(kernel.astype(dtype))

    half = grad(jnp.bfloat16)
    self.assertEqual(half.dtype, jnp.bfloat16)
    # A sum of 64 parts in bfloat16 would stop growing after some.
    chex.assert_trees_all_close(
      half.astype(jnp.float32), grad(jnp.float32), rtol=1 / 256
    )

  def test_unequal_strides(self):
    images, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 4))
    args = (2, 1), ONE, 1
    value = lambda f: jax.grad(
      lambda x, k: jnp.square(f(x, k, *args)).sum(), (0, 1)
    )(images, kernel)
    chex.assert_trees_all_close(
      value(cpu_conv.conv), value(cpu_conv.stock), rtol=1e-5
    )

  def test_second_derivative(self):
    images, kernel = jnp.ones((1, 6, 6, 2)), jnp.ones((3, 3, 2, 2))

    def curvature(function):
      energy = lambda x: jnp.tanh(function(x, kernel, (1, 1), ONE, 1)).sum()
      length = lambda x: jnp.square(jax.grad(energy)(x)).sum()
      return jax.grad(length)(0.01 * images)

    chex.assert_trees_all_close(
      curvature(cpu_conv.conv), curvature(cpu_conv.stock), rtol=1e-4, atol=1e-5
    )

  def test_grouped_gradients_are_refused(self):
    images, kernel = jnp.ones((1, 4, 4, 4)), jnp.ones((3, 3, 2, 4))
    value = lambda x: cpu_conv.conv(x, kernel, (1, 1), ONE, 2).sum()
    with self.assertRaisesRegex(NotImplementedError, 'dense or depthwise'):
      jax.grad(value)(images)

  @parameterized.parameters(
    ((3, 3, 16, 16), 32, 2),
    ((3, 3, 8, 8), 32, 4),
    ((3, 3, 3, 16), 32, 4),
    ((3, 3, 16, 3), 32, 8),
    ((3, 3, 16, 16), 7, 1),
    ((3, 3, 16, 32), 32, 1),
    ((1, 1, 8, 8), 32, 1),
  )
  def test_columns_at_once(self, shape, width, expected):
    kernel = jnp.zeros(shape)
    self.assertEqual(
      cpu_conv._columns_at_once(width, kernel, (1, 1), 1), expected
    )
    self.assertEqual(cpu_conv._columns_at_once(width, kernel, (2, 2), 1), 1)


if __name__ == '__main__':
  absltest.main()
