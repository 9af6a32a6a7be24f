"""Winograd's convolutions: where they apply, and their rounding errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.models import cpu_conv, winograd

# Padding by one pixel on every side.
ONE = ((1, 1), (1, 1))


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
    # batch, rows, columns; computed in 1, 3 and 4 parts
    (6, 8, 6),
    (6, 32, 28),
    (32, 16, 16),
  )
  def test_errors_are_those_of_rounding(self, batch, rows, columns):
    """They are about those of the stock convolution, both against float64."""
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
    results = (
      jax.jit(winograd.conv)(images, kernel),
      jax.jit(winograd.image_grad)(grad, kernel),
    )
    plain, pull = jax.vjp(
      lambda x: cpu_conv.stock(x, kernel, (1, 1), ONE, 1), images
    )
    error = lambda a, b: np.sqrt(np.mean(np.square(np.float64(a) - b)))
    for ours, theirs, true in zip(
      results, (plain, *pull(grad)), expected, strict=True
    ):
      self.assertLess(error(ours, true), 2 * error(theirs, true))


if __name__ == '__main__':
  absltest.main()
