"""Losses against values worked out by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import losses


class LossesTest(chex.TestCase):
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

  def test_margin(self):
    logits = jnp.array([[1.0, 4.0, 2.0], [9.0, 1.0, 0.0]])
    labels = jnp.array([1, 2])
    # right - best wrong: 2 and -9
    np.testing.assert_allclose(losses.margin(logits, labels), [-52, -41])
    np.testing.assert_allclose(
      losses.margin(logits, labels, kappa=0.0), [-2, 0]
    )

  def test_shapes_are_checked(self):
    with self.assertRaises(AssertionError):
      losses.cross_entropy(self.a, jnp.array([1, 2]))
    with self.assertRaises(AssertionError):
      losses.kl(self.a, self.b[:, :2])


class DLRTest(parameterized.TestCase):
  def test_by_hand(self):
    logits = jnp.array([[4.0, 1.0, 3.0, 0.0, 2.0]])
    # Right 4, best wrong 3, third 2, fourth 1.
    value = losses.dlr(logits, jnp.array([0]))
    np.testing.assert_allclose(value, [-(4 - 3) / (4 - 2)], rtol=1e-6)
    value = losses.dlr(logits, jnp.array([4]))
    np.testing.assert_allclose(value, [-(2 - 4) / (4 - 2)], rtol=1e-6)
    value = losses.targeted_dlr(logits, jnp.array([0]), jnp.array([3]))
    np.testing.assert_allclose(value, [-(4 - 0) / (4 - 1.5)], rtol=1e-6)

  def test_shift_and_scale_do_not_matter(self):
    logits = jax.random.normal(jax.random.key(0), (8, 6))
    labels, targets = jnp.arange(8) % 6, (jnp.arange(8) + 1) % 6
    for fn in (
      lambda z: losses.dlr(z, labels),
      lambda z: losses.targeted_dlr(z, labels, targets),
    ):
      np.testing.assert_allclose(fn(logits), fn(7 * logits + 3), rtol=1e-4)

  def test_few_classes(self):
    logits = jnp.array([[1.0, 3.0]])
    label, target = jnp.array([1]), jnp.array([0])
    self.assertEqual(float(losses.dlr(logits, label)[0]), -2)
    self.assertEqual(float(losses.targeted_dlr(logits, label, target)[0]), -2)
    logits = jnp.array([[1.0, 3.0, 2.0]])
    np.testing.assert_allclose(
      losses.targeted_dlr(logits, label, target), [-2 / (3 - 1)], rtol=1e-6
    )


if __name__ == '__main__':
  absltest.main()
