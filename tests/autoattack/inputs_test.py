"""Bad input of AutoAttack: refused with a message that names it."""

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import autoattack
from tests import linear


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    (
      {'images': np.full((4, *linear.SHAPE), 1.5, np.float32)},
      r'in \[0, 1\]; got',
    ),
    ({'images': np.zeros((4, 5), np.float32)}, r'\[N, H, W, C\]'),
    ({'images': np.zeros((0, *linear.SHAPE), np.float32)}, 'N at least 1'),
    ({'labels': np.eye(4)}, r'integers \[4\]'),
    ({'labels': np.array([0, 1, 2, 9])}, r'labels are in \[0, 9\].*4 classes'),
    ({'epsilon': -1}, 'epsilon=-1 should be at least 0'),
    ({'norm': 'L3'}, "norm='L3' is unknown; known: Linf, L2, L1"),
    ({'version': 'fast'}, "'fast' is unknown; known: standard, plus"),
    ({'version': 'custom'}, 'needs a list'),
    ({'attacks': ('apgd_ce',)}, 'needs a list'),
    ({'version': 'custom', 'attacks': ('pgd',)}, "'pgd' is unknown"),
    ({'step': 3}, 'step unknown; known: norm, epsilon'),
    ({'logits_fn': lambda x: x.sum()}, r'should return logits \[B, K\]'),
  )
  def test_refused(self, changes, message):
    fn, _ = linear.network(4)
    arguments = {
      'logits_fn': fn,
      'images': np.full((4, *linear.SHAPE), 0.5, np.float32),
      'labels': np.arange(4),
      **changes,
    }
    with self.assertRaisesRegex(ValueError, message):
      autoattack.run(**arguments)

  def test_small_images(self):
    with self.assertRaisesRegex(ValueError, '5x5 tiles: images of 4x6'):
      autoattack.run(
        lambda x: x.reshape(len(x), -1),
        np.full((1, 4, 6, 1), 0.5, np.float32),
        np.zeros(1, int),
        norm='L2',
      )


if __name__ == '__main__':
  absltest.main()
