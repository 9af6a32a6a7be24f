"""Margins against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import losses


class MarginTest(absltest.TestCase):
  def test_margin(self):
    logits = jnp.array([[1.0, 4.0, 2.0], [9.0, 1.0, 0.0]])
    labels = jnp.array([1, 2])
    # The label's logit minus the best other one: 2 and -9.
    np.testing.assert_allclose(losses.margin(logits, labels), [-52, -41])
    np.testing.assert_allclose(
      losses.margin(logits, labels, kappa=0.0), [-2, 0]
    )


class DLRTest(absltest.TestCase):
  def test_by_hand(self):
    logits = jnp.array([[4.0, 1.0, 3.0, 0.0, 2.0]])
    # The label's logit 4, the best other 3, the third 2, the fourth 1.
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
