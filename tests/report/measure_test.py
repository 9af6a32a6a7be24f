"""Measurements on a network: the attack, its curves, and its batches."""

from unittest import mock

import chex
import jax
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import attacks
from peeraid_jax.attacks import projections
from peeraid_jax.report import measure
from tests import helpers
from tests.report import sample_runs

THREAT = sample_runs.THREAT


class MeasureTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters('Linf', 'L2')
  def test_attack_is_pgd(self, norm):
    net, (images, labels, seed) = helpers.net(), sample_runs.examples(10)
    # Far from 0 and 1, where PGD's own start is not clipped.
    examples = measure.Examples(0.45 + 0.1 * images, labels, seed)
    threat = measure.Threat(0.4, 0.1, norm)
    attacked, accuracies = measure.attack(
      net, examples, threat, steps=3, record_after=(3,)
    )
    expected = attacks.pgd(
      lambda x: net.eval(x).logits,
      examples.images,
      examples.labels,
      jax.random.key(0),
      epsilon=0.4,
      step_size=0.1,
      steps=3,
      norm=norm,
    )
    np.testing.assert_allclose(attacked, expected, atol=1e-6)
    correct = net.eval(expected).logits.argmax(-1) == examples.labels
    self.assertAlmostEqual(accuracies[0], float(correct.mean()))
    distances = projections.norm_of(attacked - examples.images, norm)
    self.assertLessEqual(float(distances.max()), 0.4 + 1e-6)

  def test_batches_change_nothing(self):
    net, examples = helpers.net(), sample_runs.examples(7)
    run_attack = lambda: measure.attack(
      net, examples, THREAT, steps=2, record_after=(0, 2)
    )
    images, accuracies = run_attack()
    outputs = measure.outputs(net, examples.images)
    with mock.patch.object(measure, 'BATCH', 3):
      batched_images, batched_accuracies = run_attack()
      batched_outputs = measure.outputs(net, examples.images)
    np.testing.assert_allclose(images, batched_images, atol=1e-6)
    self.assertEqual(accuracies, batched_accuracies)
    for whole, batched in zip(outputs, batched_outputs, strict=True):
      np.testing.assert_allclose(whole, batched, atol=1e-5)

  def test_curves_begin_at_the_clean_accuracy(self):
    net, examples = helpers.net(), sample_runs.examples()
    clean = float(
      (net.eval(examples.images).logits.argmax(-1) == examples.labels).mean()
    )
    curve = measure.accuracy_by_epsilon(net, examples, THREAT, steps=2)
    self.assertEqual(curve['epsilon'][0], 0)
    self.assertAlmostEqual(curve['accuracy'][0], clean)
    self.assertLess(curve['accuracy'][-1], clean)
    with mock.patch.object(measure, 'STEPS', (0, 1, 4)):
      curve = measure.accuracy_by_steps(net, examples, THREAT)
    self.assertEqual(list(curve['steps']), [0, 1, 4])
    self.assertLessEqual(curve['accuracy'][-1], curve['accuracy'][0])

  def test_dataset_holds_the_original_pixels(self):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = pixels.astype(np.float32) / 255
    data = measure.Examples(images, np.array([3], np.int32), 0).dataset()
    self.assertEqual(data.images.dtype, np.uint8)
    np.testing.assert_array_equal(data.images, pixels)
    np.testing.assert_array_equal(data.labels, [3])


if __name__ == '__main__':
  absltest.main()
