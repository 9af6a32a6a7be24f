"""Accuracy: exact for any number of examples, batch size and devices."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data as data_lib
from peeraid_jax import models, nets
from peeraid_jax.evaluation import accuracy


class Plane(nn.Module):
  """Two classes split by a plane through the mean of an image."""

  num_classes: int = 2
  threshold: Any = 0.5

  @nn.compact
  def __call__(self, images, train: bool = False):
    del train
    score = jnp.mean(images, axis=(1, 2, 3)) - self.threshold
    logits = jnp.stack([-score, score], axis=-1)
    return models.Output(logits, images, logits)


def _plane(threshold=0.5) -> nets.Net:
  return nets.Net({}, {}, Plane(threshold=threshold))


def _greys(levels) -> data_lib.Dataset:
  images = np.array(levels, np.uint8).reshape(-1, 1, 1, 1)
  labels = (np.array(levels) > 127).astype(np.int32)
  return data_lib.Dataset(np.tile(images, (1, 2, 2, 1)), labels)


class ExactTest(chex.TestCase, parameterized.TestCase):
  @parameterized.product(count=(1, 2, 7, 8, 9), devices=(1, 2))
  def test_every_example_counts_once(self, count, devices):
    """An image is robust if its grey level is far enough from the plane."""
    levels = np.linspace(90, 165, count).astype(int)
    run = accuracy.make_evaluate(
      epsilon=20 / 255,
      step_size=20 / 255,
      batch_size=4,
      devices=jax.devices()[:devices],
    )
    outcomes = run(
      {'student': _plane()}, _greys(levels), {'student': ('clean', 'pgd2')}
    )
    np.testing.assert_array_equal(outcomes.roles['student']['clean'], True)
    np.testing.assert_array_equal(
      outcomes.roles['student']['pgd2'], np.abs(levels - 127.5) > 20
    )
    summary = accuracy.summary(outcomes.roles['student'])
    self.assertEqual(summary['clean'], {'accuracy': 1.0, 'n': count})
    self.assertAlmostEqual(
      summary['pgd2']['accuracy'],
      np.mean(np.abs(levels - 127.5) > 20),
    )

  def test_transfer_shows_the_sources_images_to_the_target(self):
    levels = [100, 120, 140, 160]
    run = accuracy.make_evaluate(epsilon=20 / 255, step_size=20 / 255)
    ticks = []
    outcomes = run(
      # The peer splits the classes at level 150 and errs between 128 and 150.
      {'student': _plane(), 'peer': _plane(150 / 255)},
      _greys(levels),
      {'student': ('fgsm',), 'peer': ('clean',)},
      (
        accuracy.Transfer('peer', 'student', 'fgsm'),
        accuracy.Transfer('student', 'peer', 'fgsm'),
      ),
      lambda *progress: ticks.append(progress),
    )
    np.testing.assert_array_equal(
      outcomes.roles['student']['fgsm'], [1, 0, 0, 1]
    )
    np.testing.assert_array_equal(outcomes.roles['peer']['clean'], [1, 1, 0, 1])
    # The images that attack the student are 120, 140, 120, 140.
    np.testing.assert_array_equal(
      outcomes.transfer['peer_on_student_fgsm'], [1, 1, 0, 0]
    )
    # Those that attack the peer are the same: FGSM moves away from the label.
    np.testing.assert_array_equal(
      outcomes.transfer['student_on_peer_fgsm'], [1, 0, 0, 1]
    )
    self.assertIn(('peer', 'fgsm', 0, 4), ticks)


class InvarianceTest(chex.TestCase):
  def test_batch_size_and_devices(self):
    """Noise depends on the example only, so outcomes do not change."""
    data = _greys(np.linspace(120, 135, 40).astype(int))
    by_setting = []
    for batch_size, devices in ((40, 1), (7, 1), (16, 2)):
      run = accuracy.make_evaluate(
        epsilon=20 / 255,
        step_size=0.0,  # Leaves only the random start of the attack.
        batch_size=batch_size,
        devices=jax.devices()[:devices],
      )
      outcomes = run({'student': _plane()}, data, {'student': ('pgd2', 'cw2')})
      by_setting.append(outcomes.roles['student'])
    chex.assert_trees_all_equal(*by_setting)
    for hits in by_setting[0].values():
      self.assertBetween(hits.mean(), 0.3, 0.95)
    # Two attacks draw different noise.
    self.assertFalse(np.array_equal(*by_setting[0].values()))


if __name__ == '__main__':
  absltest.main()
