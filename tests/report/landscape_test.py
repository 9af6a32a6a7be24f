"""Loss landscapes: their directions and their centre."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import losses
from peeraid_jax.report import landscape, measure
from tests import helpers
from tests.report import sample_runs


class LandscapeTest(chex.TestCase):
  def test_direction_has_the_norm_of_each_filter(self):
    net = helpers.net()
    direction = landscape.direction(net, jax.random.key(0))
    kernel, along = (
      tree['stage1_block1']['conv1']['kernel']
      for tree in (net.params, direction)
    )
    norms = lambda v: jnp.sqrt(jnp.sum(v**2, axis=(0, 1, 2)))
    np.testing.assert_allclose(norms(along), norms(kernel), rtol=1e-5)
    dense = direction['linear']['kernel']
    np.testing.assert_allclose(
      jnp.linalg.norm(dense, axis=0),
      jnp.linalg.norm(net.params['linear']['kernel'], axis=0),
      rtol=1e-5,
    )
    for leaf in (direction['linear']['bias'], direction['stem_norm']['scale']):
      np.testing.assert_array_equal(leaf, 0)

  def test_the_centre_is_the_network(self):
    net, examples = helpers.net(), sample_runs.examples(10)
    logits = net.eval(examples.images).logits
    expected = float(losses.cross_entropy(logits, examples.labels).mean())
    loss = landscape.around_weights(net, examples, examples.images, size=3)[
      'loss'
    ]
    self.assertAlmostEqual(loss[1, 1], expected, places=5)
    self.assertGreater(loss.std(), 1e-3)
    loss = landscape.around_images(net, examples, 0.1, size=3)['loss']
    self.assertAlmostEqual(loss[1, 1], expected, places=5)
    # It rises along the gradient's sign, which is the first axis, and changes
    # less along random signs.
    self.assertGreater(loss[2, 1], loss[1, 1])
    self.assertLess(loss[0, 1], loss[1, 1])
    self.assertLess(abs(loss[1, 2] - expected), loss[2, 1] - expected)

  def test_along_weights_attacks_the_network_at_the_centre(self):
    net, examples = helpers.net(), sample_runs.examples(10)
    threat = sample_runs.THREAT
    line = landscape.along_weights(net, examples, threat, size=3, steps=2)
    attacked, _ = measure.attack(net, examples, threat, steps=2)
    logits = net.eval(attacked).logits
    expected = float(losses.cross_entropy(logits, examples.labels).mean())
    self.assertAlmostEqual(line['loss'][1], expected, places=4)


if __name__ == '__main__':
  absltest.main()
