"""Projected gradient ascent on any objective: steps, starts, a carry."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import attacks, losses
from tests.attacks import plane


class MaximiseTest(absltest.TestCase):
  def test_maximise_takes_signed_steps_with_projection(self):
    images = jnp.full((1, 1, 1, 3), 0.5)
    slope = jnp.array([3.0, -0.1, 0.0]).reshape(1, 1, 1, 3)
    adv = attacks.maximise(
      lambda x: jnp.sum(x * slope, axis=(1, 2, 3)),
      images,
      jax.random.key(0),
      epsilon=0.1,
      step_size=0.04,
      steps=2,
      start='none',
    )
    np.testing.assert_allclose(adv[0, 0, 0], [0.58, 0.42, 0.5], atol=1e-6)

  def test_start_is_not_clipped(self):
    """As in the authors' code: the first gradient is taken at the noise."""
    adv = attacks.maximise(
      # Pixels that start below 0 have slope 1, the others none.
      lambda x: jnp.sum(jnp.minimum(x, 0), axis=(1, 2, 3)),
      jnp.zeros((1, 8, 8, 1)),
      jax.random.key(0),
      epsilon=0.1,
      step_size=0.1,
      steps=1,
      start='uniform',
    )
    # From a clipped start, at 0, a step would end at 0.1 exactly.
    self.assertLess(float(adv.max()), 0.1)
    self.assertGreater(float(adv.min()), 0)


class CarryTest(absltest.TestCase):
  def test_carry_goes_through_every_gradient(self):
    images, labels = plane.points(4)

    def objective(x, carry):
      values = losses.cross_entropy(plane.logits_fn(x), labels)
      return values, carry + jnp.array([1.0, x.sum()])

    settings = {'epsilon': 0.1, 'step_size': 0.05, 'steps': 2, 'start': 'none'}
    key = jax.random.key(0)
    adv, carry = attacks.maximise(
      objective, images, key, carry=jnp.zeros(2), **settings
    )
    without_carry = attacks.maximise(
      lambda x: losses.cross_entropy(plane.logits_fn(x), labels),
      images,
      key,
      **settings,
    )
    np.testing.assert_array_equal(adv, without_carry)
    after_one_step = attacks.maximise(
      lambda x: losses.cross_entropy(plane.logits_fn(x), labels),
      images,
      key,
      **{**settings, 'steps': 1},
    )
    # The objective was evaluated at the images and after the first step.
    np.testing.assert_allclose(
      carry, [2, images.sum() + after_one_step.sum()], rtol=1e-6
    )


if __name__ == '__main__':
  absltest.main()
