"""Entropies against values worked out by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import losses


class EntropyTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    # softmax: [1/2, 1/4, 1/4] and [1/4, 1/2, 1/4]
    self.a = jnp.log(jnp.array([[2.0, 1.0, 1.0]]))
    self.b = jnp.log(jnp.array([[1.0, 2.0, 1.0]])) + 5

  def test_cross_entropy(self):
    value = losses.cross_entropy(self.a, jnp.array([1]))
    np.testing.assert_allclose(value, np.log(4), rtol=1e-6)

  def test_kl_and_its_mean(self):
    expected = 0.25 * np.log(2)  # 1/2 log 2 - 1/4 log 2
    np.testing.assert_allclose(losses.kl(self.a, self.b), [expected], rtol=1e-5)
    np.testing.assert_allclose(
      losses.kl_mean(self.a, self.b), [expected / 3], rtol=1e-5
    )
    np.testing.assert_allclose(
      losses.kl(2 * self.a, 2 * self.b, temperature=2.0),
      [expected],
      rtol=1e-5,
    )

  def test_kl_with_certain_target_is_finite(self):
    target = jnp.array([[1000.0, 0.0, 0.0]])
    value, grads = jax.value_and_grad(
      lambda t, z: losses.kl(t, z).sum(), argnums=(0, 1)
    )(target, self.a)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    chex.assert_tree_all_finite(grads)

  def test_shapes_are_checked(self):
    with self.assertRaises(AssertionError):
      losses.cross_entropy(self.a, jnp.array([1, 2]))
    with self.assertRaises(AssertionError):
      losses.kl(self.a, self.b[:, :2])


if __name__ == '__main__':
  absltest.main()
