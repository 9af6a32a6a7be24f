"""Flags of reports: each is raised when it should be, and only then."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from tests import linear


class FlagsTest(chex.TestCase):
  def _report(self, fn, images=None, labels=None, **kwargs):
    if images is None:
      images, labels = linear.points(
        lambda x: np.array(fn(x), np.float32), wrong=0
      )
    kwargs = {'epsilon': 0.01, 'attacks': ('apgd_dlr',), **kwargs}
    report = linear.evaluate(
      fn, images, labels, version='custom', restarts=1, **kwargs
    )
    json.dumps(report.to_json())
    return report

  def test_no_flags_for_a_linear_network(self):
    fn, _ = linear.network(4)
    report = self._report(fn, attacks=('apgd_dlr', 'apgd_t', 'square'))
    self.assertEqual(report.flags, {})

  def test_softmax_output(self):
    fn, _ = linear.network(4)
    report = self._report(lambda x: jax.nn.softmax(fn(x)))
    self.assertIn('softmax_output', report.flags)
    with self.subTest('logits between 0 and 1 are no probabilities'):
      report = self._report(lambda x: jax.nn.sigmoid(fn(x)))
      self.assertNotIn('softmax_output', report.flags)

  def test_randomised(self):
    """A network that draws random numbers without being given keys."""
    fn, _ = linear.network(4)
    rng = np.random.default_rng(0)

    def noisy(x):
      shape = jax.ShapeDtypeStruct((), jnp.float32)
      draw = jax.pure_callback(lambda: np.float32(rng.normal()), shape)
      return fn(x) * (1 + 0.1 * jax.lax.stop_gradient(draw)) + draw

    images, labels = linear.points(fn, wrong=0)
    report = self._report(noisy, images, labels)
    self.assertIn("version='rand'", report.flags['randomised'])

  def test_masked_gradients(self):
    """Quantised inputs have no gradient; Square does not need one."""
    fn, _ = linear.network(4)
    masked = lambda x: fn(jnp.round(x * 100) / 100)
    report = self._report(
      masked,
      attacks=('apgd_ce', 'apgd_dlr', 'square'),
      epsilon=0.03,
      queries=200,
    )
    self.assertIn('zero_gradient', report.flags)
    self.assertRegex(report.flags['zero_gradient'], r'2\d points')
    self.assertIn('square_improves', report.flags)

  def test_constant_network(self):
    images = np.full((6, *linear.SHAPE), 0.5, np.float32)
    labels = np.array([0, 0, 0, 1, 2, 2])
    report = self._report(
      lambda x: jnp.tile(jnp.array([[1.0, 0, 0, 0]]), (len(x), 1)),
      images,
      labels,
    )
    self.assertEqual(report.robust_accuracy, 0.5)
    self.assertIn('zero_gradient', report.flags)

  def test_few_classes(self):
    for classes in (2, 3):
      fn, _ = linear.network(classes)
      report = self._report(fn, attacks=('apgd_dlr', 'apgd_t', 'fab_t'))
      self.assertIn(f'With {classes} classes', report.flags['few_classes'])
      self.assertEqual(report.settings['targets'], classes - 1)
    one = linear.evaluate(
      lambda x: x.sum((1, 2, 3))[:, None],
      np.full((2, *linear.SHAPE), 0.5, np.float32),
      np.zeros(2, int),
    )
    self.assertEqual(one.robust_accuracy, 1)
    self.assertIn('no attack applies', one.flags['few_classes'])

  def test_nan_logits(self):
    fn, _ = linear.network(4)
    images, labels = linear.points(fn)
    images[3, 0, 0, 0] = 0.9
    report = self._report(
      lambda x: fn(x) + jnp.where(x[:, 0, 0] > 0.8, jnp.nan, 0),
      images,
      labels,
    )
    self.assertIn('1 points', report.flags['not_finite'])

  def test_low_precision(self):
    fn, _ = linear.network(4)
    images, labels = linear.points(fn, wrong=0)
    bfloat16 = lambda x: fn(x).astype(jnp.bfloat16)
    report = self._report(bfloat16, images, labels)
    self.assertIn('bfloat16', report.flags['precision'])
    with self.subTest('search in bfloat16, decision in float32'):
      exact = linear.evaluate(
        fn, images, labels, epsilon=0.01, version='custom', attacks=('apgd_t',)
      )
      report = linear.evaluate(
        fn,
        images,
        labels,
        epsilon=0.01,
        version='custom',
        attacks=('apgd_t',),
        search_logits_fn=bfloat16,
      )
      self.assertNotIn('precision', report.flags)
      self.assertTrue(report.settings['searched_with_another_function'])
      self.assertFalse(report.settings['stop_early'])
      # Images of broken points fool the float32 function.
      predicted = np.array(fn(report.adversarial)).argmax(-1)
      broken = np.array(report.outcome) == 'apgd_t'
      self.assertTrue(np.all(predicted[broken] != labels[broken]))
      self.assertGreaterEqual(report.robust_accuracy, exact.robust_accuracy)
    with self.subTest("Square's unsuccessful images are not flagged"):
      report = linear.evaluate(
        fn,
        images,
        labels,
        epsilon=0.001,
        version='custom',
        attacks=('square',),
        search_logits_fn=fn,
      )
      self.assertEqual(report.robust_accuracy, 1)
      self.assertEqual(report.flags, {})
    with self.subTest('a search function that errs is flagged'):
      # It misclassifies every image in which a pixel has changed.
      wrong = lambda x: fn(x) * jnp.sign(1e-6 - jnp.abs(x - images[:1]).max())
      report = linear.evaluate(
        fn,
        images[:1],
        labels[:1],
        epsilon=0.001,
        version='custom',
        attacks=('apgd_dlr',),
        search_logits_fn=wrong,
      )
      self.assertEqual(report.robust_accuracy, 1)
      self.assertIn('unconfirmed', report.flags)


class RandTest(chex.TestCase):
  def test_network_that_draws(self):
    fn, _ = linear.network(4)
    images, labels = linear.points(fn, wrong=0)

    def noisy(x, keys):
      draw = jax.vmap(lambda k: jax.random.normal(k, linear.SHAPE))(keys)
      return fn(x + 0.01 * draw)

    runs = [
      linear.evaluate(
        noisy, images, labels, epsilon=0.01, version='rand', samples=4, **k
      )
      for k in ({}, {'batch_size': 8})
    ]
    self.assertEqual(runs[0].outcome, runs[1].outcome)
    self.assertLess(runs[0].robust_accuracy, runs[0].clean_accuracy)
    self.assertNotIn('randomised', runs[0].flags)
    self.assertEqual(runs[0].settings['samples'], 4)


if __name__ == '__main__':
  absltest.main()
