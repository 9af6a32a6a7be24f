"""AutoAttack: exact on linear networks, invariant, and resumable."""

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
    robust_points = np.array(report.outcome) == autoattack.ROBUST
    np.testing.assert_array_equal(robust_points, robust)
    # APGD is not exact, but leaves few points to FAB.
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
  """The outcome of a point depends on its image, and on nothing else."""

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
      # Rounding: other batch sizes add in another order.
      np.testing.assert_allclose(
        other.adversarial, first.adversarial, atol=1e-6
      )
    self.attacks = ('square',)
    one, two = (self._run(key=jax.random.key(k)).adversarial for k in (0, 1))
    self.assertGreater(np.abs(one - two).max(), 1e-3)

  def test_larger_radius_and_later_attacks_lower_the_accuracy(self):
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

  def test_order_of_the_classes(self):
    self.attacks = ('apgd_ce', 'apgd_dlr', 'apgd_t', 'fab', 'fab_t', 'square')
    network, new_labels = self.fn, np.array([2, 0, 1])
    # The order is an argument: both networks share one program.
    reordered = lambda order, x: network(x)[:, order]
    self.fn = jax.tree_util.Partial(reordered, np.arange(3))
    first = self._run()
    self.assertGreater(len(first.counts), 2)
    self.fn = jax.tree_util.Partial(reordered, np.argsort(new_labels))
    self.assertEqual(
      self._run(labels=new_labels[self.labels]).outcome, first.outcome
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
    passes_left = []

    class Killed(Exception):
      pass

    for allowed in (2, 3, 4, 5, 1000):
      passes_left.clear()

      def tick(progress, allowed=allowed):
        if progress.attack != 'clean':
          passes_left.append(progress.passes_left)
        if len(passes_left) > allowed:
          raise Killed

      try:
        report = self._run(batch_size=6, state_path=path, tick=tick)
      except Killed:
        self.assertLess(allowed, 1000)
    self.assertEqual(passes_left, sorted(passes_left, reverse=True))
    self.assertEqual(report.outcome, whole.outcome)
    self.assertEqual(report.accuracy_after, whole.accuracy_after)
    self.assertEqual(report.flags, whole.flags)
    np.testing.assert_array_equal(report.adversarial, whole.adversarial)
    # A finished evaluation can be read again.
    again = self._run(batch_size=6, state_path=path)
    self.assertEqual(again.outcome, whole.outcome)

    with self.subTest('another evaluation is refused'):
      with self.assertRaisesRegex(ValueError, 'state of another evaluation'):
        self._run(batch_size=6, state_path=path, epsilon=0.02)
      labels = self.labels.copy()
      labels[0] = (labels[0] + 1) % 3
      with self.assertRaisesRegex(ValueError, 'state of another evaluation'):
        self._run(batch_size=6, state_path=path, labels=labels)
    with self.subTest('another network is refused'):
      same, (self.fn, _) = self.fn, linear.network(3, seed=5)
      with self.assertRaisesRegex(ValueError, 'state of another network'):
        self._run(batch_size=6, state_path=path)
      self.fn = same
    with self.subTest('a broken file is named'):
      altered = path.read_text().replace('"clean": 2', '"clean": 1', 1)
      path.write_text(altered)
      with self.assertRaisesRegex(ValueError, 'is not the state'):
        self._run(batch_size=6, state_path=path)
      path.write_text('{')
      with self.assertRaisesRegex(ValueError, 'is not the state'):
        self._run(batch_size=6, state_path=path)


if __name__ == '__main__':
  absltest.main()
