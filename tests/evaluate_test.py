"""Evaluation: exact for any count, the same for any batch and devices."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data as data_lib
from peeraid_jax import evaluate, nets
from peeraid_jax.models import layers


class Plane(nn.Module):
  """Two classes split by a plane through the mean of an image."""

  num_classes: int = 2
  threshold: Any = 0.5

  @nn.compact
  def __call__(self, images, train: bool = False):
    del train
    score = jnp.mean(images, axis=(1, 2, 3)) - self.threshold
    logits = jnp.stack([-score, score], axis=-1)
    return layers.Output(logits, images, logits)


def _plane(threshold=0.5) -> nets.Net:
  return nets.Net({}, {}, Plane(threshold=threshold))


def _greys(levels) -> data_lib.Dataset:
  images = np.array(levels, np.uint8).reshape(-1, 1, 1, 1)
  labels = (np.array(levels) > 127).astype(np.int32)
  return data_lib.Dataset(np.tile(images, (1, 2, 2, 1)), labels)


class ExactTest(chex.TestCase, parameterized.TestCase):
  @parameterized.product(count=(1, 2, 7, 8, 9), devices=(1, 2))
  def test_every_example_counts_once(self, count, devices):
    """Grey levels whose distance to the plane is known decide."""
    levels = np.linspace(90, 165, count).astype(int)
    run = evaluate.make_evaluate(
      epsilon=20 / 255,
      step_size=20 / 255,
      batch_size=4,
      devices=jax.devices()[:devices],
    )
    found = run(
      {'student': _plane()}, _greys(levels), {'student': ('clean', 'pgd2')}
    )
    np.testing.assert_array_equal(found.roles['student']['clean'], True)
    np.testing.assert_array_equal(
      found.roles['student']['pgd2'], np.abs(levels - 127.5) > 20
    )
    summary = evaluate.summary(found.roles['student'])
    self.assertEqual(summary['clean'], {'accuracy': 1.0, 'n': count})
    self.assertAlmostEqual(
      summary['pgd2']['accuracy'],
      np.mean(np.abs(levels - 127.5) > 20),
    )

  def test_transfer_shows_the_sources_images_to_the_target(self):
    levels = [100, 120, 140, 160]
    run = evaluate.make_evaluate(epsilon=20 / 255, step_size=20 / 255)
    told = []
    found = run(
      # The peer errs on grey levels up to 150, attacked or not.
      {'student': _plane(), 'peer': _plane(150 / 255)},
      _greys(levels),
      {'student': ('fgsm',), 'peer': ('clean',)},
      (
        evaluate.Transfer('peer', 'student', 'fgsm'),
        evaluate.Transfer('student', 'peer', 'fgsm'),
      ),
      lambda *progress: told.append(progress),
    )
    np.testing.assert_array_equal(found.roles['student']['fgsm'], [1, 0, 0, 1])
    np.testing.assert_array_equal(found.roles['peer']['clean'], [1, 1, 0, 1])
    # Student's images are 120, 140, 120, 140.
    np.testing.assert_array_equal(
      found.transfer['peer_on_student_fgsm'], [1, 1, 0, 0]
    )
    # Peer's are 120, 140, 120 (or 160: the label decides), 140.
    np.testing.assert_array_equal(
      found.transfer['student_on_peer_fgsm'], [1, 0, 0, 1]
    )
    self.assertIn(('peer', 'fgsm', 0, 4), told)


class InvarianceTest(chex.TestCase):
  def test_batch_size_and_devices(self):
    """Noise is keyed by the example: outcomes are those of one batch."""
    data = _greys(np.linspace(120, 135, 40).astype(int))
    outcomes = []
    for batch_size, devices in ((40, 1), (7, 1), (16, 2)):
      run = evaluate.make_evaluate(
        epsilon=20 / 255,
        step_size=0.0,  # The attack is its random start.
        batch_size=batch_size,
        devices=jax.devices()[:devices],
      )
      found = run({'student': _plane()}, data, {'student': ('pgd2', 'cw2')})
      outcomes.append(found.roles['student'])
    chex.assert_trees_all_equal(*outcomes)
    for hits in outcomes[0].values():
      self.assertBetween(hits.mean(), 0.3, 0.95)
    # Two attacks draw different noise.
    self.assertFalse(np.array_equal(*outcomes[0].values()))


if __name__ == '__main__':
  absltest.main()
