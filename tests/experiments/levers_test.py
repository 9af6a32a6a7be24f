"""Levers change how the step is computed, but not its result."""

import chex
import jax
import jax.numpy as jnp
import pytest
from absl.testing import absltest, parameterized

from experiments.benchmarks import folding, levers, programs
from peeraid_jax import models, nets
from tests import helpers


class LeversTest(parameterized.TestCase):
  @parameterized.parameters(
    # network, folded norms, all norms
    ('tiny', 6, 6),
    ('wideresnet10x1', 3, 7),
  )
  def test_folded(self, name, folded, norms):
    module = models.create(name, num_classes=10, width=8)
    net = nets.create(module, jax.random.key(0), (8, 8, 1))
    # The initial scales, means and variances would make folding trivial.
    randomised = jax.tree.map(
      lambda x: x + jax.random.uniform(jax.random.key(x.size), x.shape),
      (net.params, net.batch_stats),
    )
    net = net.replace(params=randomised[0], batch_stats=randomised[1])
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 1))
    folded_net = folding.Folded.of(net)
    paths = jax.tree.leaves_with_path(net.batch_stats)
    self.assertLen(paths, 2 * norms)
    self.assertLen(folding.pairs(net.params), folded)
    expected = jax.jit(lambda net: net.eval(images).logits)(net)
    logits = jax.jit(lambda net: net.eval(images).logits)(folded_net)
    chex.assert_trees_all_close(
      logits / expected, jnp.ones_like(logits), rtol=1e-4
    )

  @pytest.mark.slow
  def test_four_steps_in_one_call_equal_four_calls(self):
    step, (state, *rest) = programs.concrete(helpers.config())
    lever = levers.LEVERS['four_steps']
    self.assertEqual(lever.steps, 4)
    several, (other, *_) = lever.apply(step, (jax.tree.map(jnp.copy, state),))
    other, last = several(other, *rest)
    for _ in range(4):
      state, values = step(state, *rest)
      jax.block_until_ready(values)
    self.assertEqual(int(other.step), 4)
    chex.assert_trees_all_close(
      jax.device_get((other, last)),
      jax.device_get((state, values)),
      rtol=1e-4,
      atol=1e-6,
    )


if __name__ == '__main__':
  absltest.main()
