"""The versions of AutoAttack: attacks, settings, targets, restarts."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import suite
from tests.autoattack import reference


class VersionTest(parameterized.TestCase):
  @parameterized.parameters(
    ('standard', 'Linf', 10, 1, 9, 1, 9),
    ('standard', 'L1', 10, 5, 9, 1, 5),
    ('plus', 'Linf', 10, 5, 9, 1, 9),
    ('plus', 'L1', 10, 5, 9, 1, 9),
    ('custom', 'L1', 10, 5, 9, 1, 9),
    ('rand', 'L2', 10, 1, 9, 20, 9),
    ('custom', 'Linf', 10, 5, 9, 1, 9),
    ('standard', 'Linf', 4, 1, 3, 1, 3),
  )
  def test_settings(self, version, norm, classes, *expected):
    settings = suite.settings_of(
      version, norm=norm, epsilon=0.1, classes=classes
    )
    numbers = (settings.restarts, settings.targets, settings.samples)
    stages = suite.stages('apgd_t', settings)
    self.assertEqual((*numbers, stages), expected)
    self.assertEqual((settings.steps, settings.queries), (100, 5000))
    standard = version == 'standard'
    self.assertEqual(settings.shrinking, standard and norm == 'L1')

  def test_attacks_in_order(self):
    self.assertEqual(
      suite.VERSIONS['standard'], ('apgd_ce', 'apgd_t', 'fab_t', 'square')
    )
    self.assertEqual(
      suite.VERSIONS['plus'],
      ('apgd_ce', 'apgd_dlr', 'fab', 'square', 'apgd_t', 'fab_t'),
    )

  def test_classes_by_rank_of_their_logits(self):
    logits = jnp.array([[5.0, 1, 4, 2, 3]])
    ranks = [int(suite.nth_class(logits, r)[0]) for r in range(5)]
    self.assertEqual(ranks, [0, 2, 4, 3, 1])


class RestartsTest(absltest.TestCase):
  def test_first_run_of_fab_starts_at_the_image_and_later_ones_at_random(self):
    network = reference.Network()
    images, labels = reference.points(network, 4)
    settings = suite.settings_of(
      'custom', norm='Linf', epsilon=0.3, classes=reference.CLASSES
    )._replace(steps=3)
    stage = jax.jit(
      lambda key, index: (
        suite.stage('fab', settings)(
          lambda x: reference.logits_fn(network, x),
          images.astype(np.float32),
          labels,
          key,
          index,
        ).images
      )
    )
    first = [stage(jax.random.key(seed), 0) for seed in (0, 1)]
    np.testing.assert_array_equal(*first)
    later = [stage(jax.random.key(seed), 1) for seed in (0, 1)]
    self.assertGreater(np.abs(later[0] - later[1]).max(), 1e-3)


if __name__ == '__main__':
  absltest.main()
