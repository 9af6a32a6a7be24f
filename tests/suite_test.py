"""The versions of AutoAttack: orders, numbers, targets."""

import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax.attacks import suite


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
    made = suite.settings_of(version, norm=norm, epsilon=0.1, classes=classes)
    found = (made.restarts, made.targets, made.samples)
    self.assertEqual((*found, suite.stages('apgd_t', made)), expected)
    self.assertEqual((made.steps, made.queries), (100, 5000))
    standard = version == 'standard'
    self.assertEqual(made.shrinking, standard and norm == 'L1')

  def test_orders(self):
    self.assertEqual(
      suite.VERSIONS['standard'], ('apgd_ce', 'apgd_t', 'fab_t', 'square')
    )
    self.assertEqual(
      suite.VERSIONS['plus'],
      ('apgd_ce', 'apgd_dlr', 'fab', 'square', 'apgd_t', 'fab_t'),
    )

  def test_targets_are_ranks_of_the_clean_logits(self):
    logits = jnp.array([[5.0, 1, 4, 2, 3]])
    ranks = [int(suite.nth_class(logits, r)[0]) for r in range(5)]
    self.assertEqual(ranks, [0, 2, 4, 3, 1])


if __name__ == '__main__':
  absltest.main()
