"""The checks for masked gradients, passed and failed."""

import copy

import chex
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data as data_lib
from peeraid_jax import nets, obfuscation
from peeraid_jax.models import layers

HONEST = {
  'fgsm': 0.5,
  'pgd20': 0.45,
  'pgd100': 0.44,
  'noise': 0.8,
  'by_epsilon': {0.1: 0.45, 0.2: 0.1, 0.5: 0.0},
  'transfer': {'peer': 0.7},
  'n': 1000,
}


class Levels(nn.Module):
  """Classes by grey level; the level may be rounded, which has no gradient."""

  rounded: bool = False
  num_classes: int = 2

  @nn.compact
  def __call__(self, images, train: bool = False):
    del train
    level = jnp.mean(images, axis=(1, 2, 3)) - 0.5
    if self.rounded:
      level = jnp.round(level * 50) / 50 + 0.001
    logits = jnp.stack([-level, level], axis=-1)
    return layers.Output(logits, images, logits)


class JudgeTest(parameterized.TestCase):
  def test_honest(self):
    found = obfuscation.judge(HONEST, apgd_t=0.4, square=0.5)
    self.assertLen(found, 6)
    for name, check in found.items():
      self.assertTrue(check['passed'], name)

  @parameterized.parameters(
    ('iterative_beats_single_step', {'fgsm': 0.4}),
    ('more_steps_are_no_weaker', {'pgd100': 0.5}),
    ('gradient_beats_noise', {'noise': 0.4}),
    ('accuracy_falls_to_zero', {'by_epsilon': {0.1: 0.45, 0.5: 0.2}}),
    ('accuracy_falls_to_zero', {'by_epsilon': {0.1: 0.1, 0.2: 0.3, 0.5: 0}}),
    ('white_box_beats_transfer', {'transfer': {'peer': 0.7, 'swa': 0.3}}),
    ('gradients_beat_queries', {'square': 0.3}),
  )
  def test_each_fails_alone(self, name, changes):
    square = changes.get('square', 0.5)
    measured = copy.deepcopy(HONEST) | changes
    found = obfuscation.judge(measured, apgd_t=0.4, square=square)
    failed = [n for n, check in found.items() if not check['passed']]
    self.assertEqual(failed, [name])

  def test_what_is_not_known_is_not_judged(self):
    found = obfuscation.judge({**HONEST, 'transfer': {}})
    self.assertLen(found, 4)

  def test_two_examples_may_differ(self):
    measured = {**HONEST, 'fgsm': 0.41, 'n': 50}
    found = obfuscation.judge(measured)
    self.assertTrue(found['iterative_beats_single_step']['passed'])


class MeasureTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    levels = np.array([100, 110, 120, 140, 150, 160] * 4, np.uint8)
    images = np.tile(levels[:, None, None, None], (1, 2, 2, 1))
    labels = (levels > 127).astype(np.int32)
    self.data = data_lib.Dataset(images, labels)

  def _measure(self, **kwargs):
    made = {role: nets.Net({}, {}, Levels(**k)) for role, k in kwargs.items()}
    return obfuscation.measure(
      made,
      self.data,
      epsilon=20 / 255,
      step_size=5 / 255,
      norm='Linf',
      roles=tuple(made),
    )

  def test_honest_and_rounded(self):
    found = self._measure(honest={}, rounded={'rounded': True})
    honest, rounded = found['honest'], found['rounded']
    # Levels within 20 of 127.5, every second one, can be moved across.
    self.assertAlmostEqual(honest['pgd20'], 0.5)
    self.assertAlmostEqual(honest['fgsm'], 0.5)
    self.assertGreater(honest['noise'], 0.5)
    self.assertEqual(list(honest['by_epsilon'].values())[-1], 0)
    self.assertAlmostEqual(max(honest['by_epsilon']), 0.5)
    self.assertEqual(honest['n'], 24)
    # It sees no gradient, and falls to the other one's images.
    self.assertAlmostEqual(rounded['transfer']['honest'], 0.5)
    self.assertGreater(rounded['pgd20'], 0.6)
    judged = {role: obfuscation.judge(m) for role, m in found.items()}
    self.assertTrue(all(c['passed'] for c in judged['honest'].values()))
    failed = {n for n, c in judged['rounded'].items() if not c['passed']}
    self.assertContainsSubset(
      {'accuracy_falls_to_zero', 'white_box_beats_transfer'}, failed
    )


if __name__ == '__main__':
  absltest.main()
