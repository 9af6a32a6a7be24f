"""Convolutions as a CPU runs them fast are the stock ones."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import models
from peeraid_jax.models import cpu_conv, layers, winograd

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
    ones = jax.random.normal(keys[2], expected.shape)

    def both(function):
      def compute(images, kernel):
        found, pull = jax.vjp(
          lambda x, k: function(x, k, *args), images, kernel
        )
        return found, pull(ones)

      return jax.jit(compute)(images, kernel)

    # Sums of thousands of products in another order.
    chex.assert_trees_all_close(
      both(cpu_conv.conv), both(cpu_conv.stock), rtol=1e-4, atol=1e-3
    )

  def test_lean(self):
    images, kernel = jnp.ones((2, 8, 8, 64)), jnp.ones((3, 3, 64, 64))

    def text(lean):
      apply = lambda x: cpu_conv.conv(x, kernel, (1, 1), ONE, 1, lean=lean)
      return str(jax.make_jaxpr(jax.grad(lambda x: apply(x).sum()))(images))

    # Winograd's products; and of a network that computes blocks again none.
    self.assertIn('dot_general', text(False))
    self.assertNotIn('dot_general', text(True))
    for remat in (False, True):
      module = models.create('tiny', num_classes=2, width=64, remat=remat)
      images = images[..., :3]
      variables = jax.eval_shape(module.init, jax.random.key(0), images)
      made = str(jax.make_jaxpr(module.apply)(variables, images))
      # The last layer's is always there.
      self.assertEqual(made.count('dot_general[') > 1, not remat)

  def test_parts_of_half_precision_are_summed_in_float32(self):
    images, kernel = jnp.ones((1024, 8, 8, 1)), jnp.ones((3, 3, 1, 1))

    def grad(dtype):
      apply = lambda k: cpu_conv.conv(
        images.astype(dtype), k, (1, 1), ONE, 1
      ).sum(dtype=jnp.float32)
      return jax.jit(jax.grad(apply))(kernel.astype(dtype))

    found = grad(jnp.bfloat16)
    self.assertEqual(found.dtype, jnp.bfloat16)
    # 64 parts: a sum in bfloat16 stands still after some.
    chex.assert_trees_all_close(
      found.astype(jnp.float32), grad(jnp.float32), rtol=1 / 256
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


class WinogradTest(parameterized.TestCase):
  @parameterized.parameters(
    ((4, 8, 8, 64), (3, 3, 64, 64), jnp.float32, True),
    ((4, 8, 8, 64), (3, 3, 64, 63), jnp.float32, False),
    ((4, 7, 8, 64), (3, 3, 64, 64), jnp.float32, False),
    ((4, 8, 8, 64), (1, 1, 64, 64), jnp.float32, False),
    ((4, 8, 8, 64), (3, 3, 64, 64), jnp.bfloat16, False),
  )
  def test_suits(self, images, kernel, dtype, expected):
    images, kernel = jnp.zeros(images, dtype), jnp.zeros(kernel, dtype)
    suits = functools.partial(winograd.suits, images, kernel)
    self.assertEqual(suits((1, 1), ONE, 1), expected)
    self.assertFalse(suits((2, 2), ONE, 1))
    self.assertFalse(suits((1, 1), ((0, 2), (0, 2)), 1))
    self.assertFalse(suits((1, 1), ONE, 64))

  @parameterized.parameters(
    # batch, rows, columns: in 1, 3 and 4 parts
    (6, 8, 6),
    (6, 32, 28),
    (32, 16, 16),
  )
  def test_errors_are_those_of_rounding(self, batch, rows, columns):
    """About the plain sum's, against float64."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, rows, columns, 64))
    kernel = rng.normal(size=(3, 3, 64, 66))
    grad = rng.normal(size=(batch, rows, columns, 66))

    def exact(images, kernel):
      padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
      shift = lambda i, j: padded[:, i : i + rows, j : j + columns]
      return sum(shift(i, j) @ kernel[i, j] for i in range(3) for j in range(3))

    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    expected = exact(images, kernel), exact(grad, flipped)
    images, kernel, grad = (jnp.float32(x) for x in (images, kernel, grad))
    found = (
      jax.jit(winograd.conv)(images, kernel),
      jax.jit(winograd.image_grad)(grad, kernel),
    )
    plain, pull = jax.vjp(
      lambda x: cpu_conv.stock(x, kernel, (1, 1), ONE, 1), images
    )
    error = lambda a, b: np.sqrt(np.mean(np.square(np.float64(a) - b)))
    for ours, theirs, true in zip(
      found, (plain, *pull(grad)), expected, strict=True
    ):
      self.assertLess(error(ours, true), 2 * error(theirs, true))


class StockTest(absltest.TestCase):
  def test_stock_convolutions(self):
    images, kernel = jnp.ones((1, 8, 8, 8)), jnp.ones((3, 3, 8, 8))

    def kernels():
      traced = jax.make_jaxpr(
        lambda x, k: layers.conv_general_dilated(
          x, k, (1, 1), ONE, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )
      )(images, kernel)
      return str(traced)

    self.assertIn('custom_vjp', kernels())
    with layers.stock_convolutions():
      self.assertNotIn('custom_vjp', kernels())
    self.assertIn('custom_vjp', kernels())


if __name__ == '__main__':
  absltest.main()
