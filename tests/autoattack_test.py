"""AutoAttack: exact on linear networks, invariant, resumable."""

import chex
import jax
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import autoattack
from tests import helpers, linear


class LinearTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(('Linf', 0.012), ('L2', 0.06), ('L1', 0.2))
  def test_exact(self, norm, epsilon):
    fn, weights = linear.network(4)
    images, labels = linear.points(fn)
    radii = linear.radii(fn, weights, images, labels, norm)
    robust = radii > epsilon
    self.assertBetween(robust.sum(), 4, 18)
    report = linear.evaluate(
      fn,
      images,
      labels,
      norm=norm,
      epsilon=epsilon,
      version='custom',
      attacks=('apgd_t', 'fab_t'),
    )
    found = np.array(report.outcome) == autoattack.ROBUST
    np.testing.assert_array_equal(found, robust)
    # APGD alone, which is no exact method, leaves few to FAB.
    self.assertLessEqual(report.counts.get('fab_t', 0), 2)

    delta = (report.adversarial - images).reshape(len(images), -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    size = np.linalg.norm(delta, order, axis=-1)
    self.assertLessEqual(size.max(), epsilon + 1e-6)
    broken = ~robust & (radii > 0)
    np.testing.assert_array_equal(size[~broken], 0)
    predicted = np.array(fn(report.adversarial)).argmax(-1)
    self.assertTrue(np.all(predicted[broken] != labels[broken]))
    self.assertGreaterEqual(report.adversarial.min(), 0)
    self.assertLessEqual(report.adversarial.max(), 1)


class InvarianceTest(chex.TestCase):
  """Noise belongs to the point: nothing else matters."""

  def setUp(self):
    super().setUp()
    self.fn, _ = linear.network(3)
    self.images, self.labels = linear.points(self.fn, wrong=1)
    self.attacks = ('apgd_ce', 'square')

  def _run(self, images=None, labels=None, **kwargs):
    return linear.evaluate(
      self.fn,
      self.images if images is None else images,
      self.labels if labels is None else labels,
      version='custom',
      attacks=self.attacks,
      **{'epsilon': 0.01, 'restarts': 2, **kwargs},
    )

  def test_batch_size_devices_and_repetition(self):
    first = self._run()
    self.assertGreater(first.counts['robust'], 2)
    self.assertLess(first.robust_accuracy, first.clean_accuracy - 0.1)
    for kwargs in (
      {},
      {'batch_size': 6},
      {'devices': jax.devices()[:1]},
    ):
      other = self._run(**kwargs)
      self.assertEqual(other.outcome, first.outcome)
      # Sums are added in another order: rounding.
      np.testing.assert_allclose(
        other.adversarial, first.adversarial, atol=1e-6
      )
    self.attacks = ('square',)
    found = [self._run(key=jax.random.key(k)).adversarial for k in (0, 1)]
    self.assertGreater(np.abs(found[0] - found[1]).max(), 1e-3)

  def test_more_is_never_less(self):
    small = self._run(epsilon=0.005)
    large = self._run(epsilon=0.02)
    self.assertLess(large.robust_accuracy, small.robust_accuracy)
    none = self._run(epsilon=0)
    self.assertEqual(none.robust_accuracy, none.clean_accuracy)
    self.assertEqual(none.accuracy_after, {})
    after = list(small.accuracy_after.values())
    self.assertEqual(after, sorted(after, reverse=True))
    self.assertEqual(sum(small.counts.values()), len(self.labels))

  def test_order_of_the_points(self):
    first = self._run()
    order = np.random.default_rng(3).permutation(len(self.labels))
    other = self._run(self.images[order], self.labels[order])
    self.assertEqual(other.outcome, [first.outcome[i] for i in order])
    np.testing.assert_allclose(
      other.adversarial, first.adversarial[order], atol=1e-6
    )

  def test_names_of_the_classes(self):
    self.attacks = ('apgd_ce', 'apgd_dlr', 'apgd_t', 'fab', 'fab_t', 'square')
    network, names = self.fn, np.array([2, 0, 1])
    # The order is an argument: both are one program.
    named = lambda order, x: network(x)[:, order]
    self.fn = jax.tree_util.Partial(named, np.arange(3))
    first = self._run()
    self.assertGreater(len(first.counts), 2)
    self.fn = jax.tree_util.Partial(named, np.argsort(names))
    self.assertEqual(
      self._run(labels=names[self.labels]).outcome, first.outcome
    )

  def test_sequence_is_the_worst_case_of_its_attacks(self):
    robust = lambda report: np.array(report.outcome) == autoattack.ROBUST
    together = robust(self._run(epsilon=0.007, restarts=1))
    alone = []
    for name in self.attacks:
      self.attacks = (name,)
      alone.append(robust(self._run(epsilon=0.007, restarts=1)))
    np.testing.assert_array_equal(together, np.logical_and(*alone))
    self.assertTrue(np.any(alone[0] != alone[1]))
    with self.subTest('more queries break no fewer points'):
      fewer = robust(self._run(epsilon=0.007, restarts=1, queries=20))
      self.assertTrue(np.all(fewer >= alone[1]))
      self.assertTrue(np.any(fewer > alone[1]))

  def test_killed_after_every_batch_and_resumed(self):
    whole = self._run(batch_size=6)
    path = helpers.folder(self) / 'state' / 'aa.json'
    left = []

    class Killed(Exception):
      pass

    for allowed in (2, 3, 4, 5, 1000):
      left.clear()

      def tick(progress, allowed=allowed):
        if progress.attack != 'clean':
          left.append(progress.passes_left)
        if len(left) > allowed:
          raise Killed

      try:
        report = self._run(batch_size=6, state_path=path, tick=tick)
      except Killed:
        self.assertLess(allowed, 1000)
    self.assertEqual(left, sorted(left, reverse=True))
    self.assertEqual(report.outcome, whole.outcome)
    self.assertEqual(report.accuracy_after, whole.accuracy_after)
    self.assertEqual(report.flags, whole.flags)
    np.testing.assert_array_equal(report.adversarial, whole.adversarial)
    # Finished is finished.
    again = self._run(batch_size=6, state_path=path)
    self.assertEqual(again.outcome, whole.outcome)

    with self.subTest('another evaluation is refused'):
      with self.assertRaisesRegex(ValueError, 'state of another evaluation'):
        self._run(batch_size=6, state_path=path, epsilon=0.02)
      labels = self.labels.copy()
      labels[0] = (labels[0] + 1) % 3
      with self.assertRaisesRegex(ValueError, 'state of another evaluation'):
        self._run(batch_size=6, state_path=path, labels=labels)
    with self.subTest('a changed network is flagged'):
      other, _ = linear.network(3, seed=5)
      self.fn = other
      report = self._run(batch_size=6, state_path=path)
      self.assertIn('clean_accuracy_changed', report.flags)
    with self.subTest('a broken file is named'):
      robust = path.read_text().replace('"clean": 2', '"clean": 1', 1)
      path.write_text(robust)
      with self.assertRaisesRegex(ValueError, 'is not the state'):
        self._run(batch_size=6, state_path=path)
      path.write_text('{')
      with self.assertRaisesRegex(ValueError, 'is not the state'):
        self._run(batch_size=6, state_path=path)


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
    ({'logits_fn': lambda x: x.sum()}, r'should give \[B, K\]'),
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
