"""The checks for masked gradients pass and fail as they should."""

import copy

import chex
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data as data_lib
from peeraid_jax import models, nets
from peeraid_jax.evaluation import obfuscation

USEFUL_GRADIENTS = {
  'fgsm': 0.5,
  'pgd20': 0.45,
  'pgd100': 0.44,
  'noise': 0.8,
  'by_epsilon': {0.1: 0.45, 0.2: 0.1, 0.5: 0.0},
  'transfer': {'peer': 0.7},
  'n': 1000,
}


class Levels(nn.Module):
  """Classes by grey level; rounding the level makes its gradient zero."""

  rounded: bool = False
  num_classes: int = 2

  @nn.compact
  def __call__(self, images, train: bool = False):
    del train
    level = jnp.mean(images, axis=(1, 2, 3)) - 0.5
    if self.rounded:
      level = jnp.round(level * 50) / 50 + 0.001
    logits = jnp.stack([-level, level], axis=-1)
    return models.Output(logits, images, logits)


class JudgeTest(parameterized.TestCase):
  def test_useful_gradients_pass_all(self):
    checks = obfuscation.judge(USEFUL_GRADIENTS, apgd_t=0.4, square=0.5)
    self.assertLen(checks, 6)
    for name, check in checks.items():
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
    measured = copy.deepcopy(USEFUL_GRADIENTS) | changes
    checks = obfuscation.judge(measured, apgd_t=0.4, square=square)
    failed = [n for n, check in checks.items() if not check['passed']]
    self.assertEqual(failed, [name])

  def test_checks_without_measurements_are_left_out(self):
    checks = obfuscation.judge({**USEFUL_GRADIENTS, 'transfer': {}})
    self.assertLen(checks, 4)

  def test_two_examples_may_differ(self):
    measured = {**USEFUL_GRADIENTS, 'fgsm': 0.41, 'n': 50}
    checks = obfuscation.judge(measured)
    self.assertTrue(checks['iterative_beats_single_step']['passed'])


class MeasureTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    levels = np.array([100, 110, 120, 140, 150, 160] * 4, np.uint8)
    images = np.tile(levels[:, None, None, None], (1, 2, 2, 1))
    labels = (levels > 127).astype(np.int32)
    self.data = data_lib.Dataset(images, labels)

  def _measure(self, **kwargs):
    networks = {
      role: nets.Net({}, {}, Levels(**k)) for role, k in kwargs.items()
    }
    return obfuscation.measure(
      networks,
      self.data,
      epsilon=20 / 255,
      step_size=5 / 255,
      norm='Linf',
      roles=tuple(networks),
    )

  def test_plain_and_rounded(self):
    measured = self._measure(plain={}, rounded={'rounded': True})
    plain, rounded = measured['plain'], measured['rounded']
    # Half of the levels are within 20 of 127.5 and can be moved across it.
    self.assertAlmostEqual(plain['pgd20'], 0.5)
    self.assertAlmostEqual(plain['fgsm'], 0.5)
    self.assertGreater(plain['noise'], 0.5)
    self.assertEqual(list(plain['by_epsilon'].values())[-1], 0)
    self.assertAlmostEqual(max(plain['by_epsilon']), 0.5)
    self.assertEqual(plain['n'], 24)
    # Gradient attacks fail, but images of the other network succeed.
    self.assertAlmostEqual(rounded['transfer']['plain'], 0.5)
    self.assertGreater(rounded['pgd20'], 0.6)
    judged = {role: obfuscation.judge(m) for role, m in measured.items()}
    self.assertTrue(all(c['passed'] for c in judged['plain'].values()))
    failed = {n for n, c in judged['rounded'].items() if not c['passed']}
    self.assertContainsSubset(
      {'accuracy_falls_to_zero', 'white_box_beats_transfer'}, failed
    )


if __name__ == '__main__':
  absltest.main()
