"""AutoAttack: exact on linear networks, invariant, resumable, and honest."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import autoattack, losses
from peeraid_jax.attacks import apgd, fab, square, suite
from tests import helpers

SHAPE = (5, 6, 1)
# Fewer steps than AutoAttack's: these networks need no more.
SHORT = {'steps': 20, 'queries': 40}


def _linear(classes: int, seed: int = 0):
  """Returns (logits_fn, its weights) of a linear classifier."""
  rng = np.random.default_rng(seed)
  weights = rng.normal(size=(np.prod(SHAPE), classes)).astype(np.float32)
  return lambda x: (x.reshape(len(x), -1) - 0.5) @ weights, weights


def _points(logits_fn, count=24, wrong=2):
  """Points far from the walls of the box; the first few are misclassified."""
  images = np.random.default_rng(1).uniform(0.3, 0.7, (count, *SHAPE))
  images = images.astype(np.float32)
  logits = np.array(logits_fn(images))
  labels = logits.argmax(-1)
  labels[:wrong] = (labels[:wrong] + 1) % logits.shape[-1]
  return images, labels


def _radii(logits_fn, weights, images, labels, norm):
  """Distance of each point to the nearest other class, exact."""
  logits = np.array(logits_fn(images))
  order = {'Linf': 1, 'L2': 2, 'L1': np.inf}[norm]
  found = []
  for z, y in zip(logits, labels, strict=True):
    distances = [
      (z[y] - z[j]) / np.linalg.norm(weights[:, y] - weights[:, j], order)
      for j in range(len(z))
      if j != y
    ]
    found.append(min(distances))
  return np.array(found)


def _run(logits_fn, images, labels, **kwargs):
  return autoattack.run(
    logits_fn, images, labels, **{'batch_size': 16, **SHORT, **kwargs}
  )


class LinearTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(('Linf', 0.012), ('L2', 0.06), ('L1', 0.2))
  def test_exact(self, norm, epsilon):
    fn, weights = _linear(4)
    images, labels = _points(fn)
    radii = _radii(fn, weights, images, labels, norm)
    robust = radii > epsilon
    self.assertBetween(robust.sum(), 4, 18)
    report = _run(
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

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_distance_of_fab(self, norm):
    fn, weights = _linear(3)
    images, labels = _points(fn, wrong=0)
    exact = _radii(fn, weights, images, labels, norm)
    run = jax.jit(
      lambda x, y: fab.fab(
        fn, x, y, jax.random.key(0), epsilon=1.0, norm=norm, steps=30
      )
    )
    found = run(images, labels)
    # The found point lies a little behind the boundary: eta is 1.05.
    np.testing.assert_array_less(exact * (1 - 1e-4), found.distance)
    np.testing.assert_array_less(found.distance, exact * 1.06)
    outside = fab.fab(
      fn, images, labels, jax.random.key(0), epsilon=0.0, norm=norm, steps=3
    )
    self.assertFalse(bool(outside.broken.any()))
    np.testing.assert_array_equal(outside.images, images)


class APGDTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(
    (100, [22, 41, 57, 70, 80, 87, 93, 99]),
    (50, [11, 21, 30, 38, 45]),
    (20, [4, 7, 9, *range(10, 21)]),
    (10, list(range(2, 11))),
    (5, [1, 2, 3, 4, 5]),
  )
  def test_checkpoints(self, steps, expected):
    self.assertEqual(apgd.checkpoints(steps), expected)

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_best_loss_and_ball(self, norm):
    net = helpers.net()
    data = helpers.digits(12)
    images = jnp.asarray(data.images / np.float32(255))
    labels = jnp.asarray(data.labels)
    epsilon = {'Linf': 0.1, 'L2': 0.8, 'L1': 4.0}[norm]
    loss = lambda z: losses.cross_entropy(z, labels)
    fn = lambda x, keys: net.eval(x).logits

    @jax.jit
    def run(key):
      found = apgd.apgd(
        fn,
        images,
        labels,
        key,
        loss=loss,
        epsilon=epsilon,
        norm=norm,
        steps=10,
        stop_early=False,
      )
      starts = apgd.random_start(
        images,
        jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i))[0])(
          jnp.arange(12)
        ),
        epsilon=epsilon,
        norm=norm,
      )
      return found, loss(fn(found.best, None)), loss(fn(starts, None))

    found, at_best, at_start = run(jax.random.key(0))
    np.testing.assert_allclose(found.best_loss, at_best, rtol=1e-5)
    self.assertTrue(np.all(found.best_loss >= at_start - 1e-6))
    self.assertGreater(float((found.best_loss - at_start).min()), 0)
    delta = np.asarray(found.best - images).reshape(12, -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    size = np.linalg.norm(delta, order, axis=-1)
    self.assertLessEqual(size.max(), epsilon + 1e-5)

  def test_start_reaches_the_surface(self):
    images = jnp.full((6, *SHAPE), 0.5)
    keys = jax.random.split(jax.random.key(0), 6)
    for norm, order in (('Linf', np.inf), ('L2', 2), ('L1', 1)):
      x = apgd.random_start(images, keys, epsilon=0.1, norm=norm)
      size = np.linalg.norm(
        np.asarray(x - images).reshape(6, -1), order, axis=-1
      )
      np.testing.assert_allclose(size, 0.1, rtol=1e-4)

  def test_step_is_halved_where_the_loss_does_not_grow(self):
    """On a flat loss every second checkpoint after the first halves."""
    images = jnp.full((1, *SHAPE), 0.5)
    seen = []

    def fn(x, keys):
      del keys
      jax.debug.callback(lambda v: seen.append(np.asarray(v)), x, ordered=True)
      # A slope everywhere, and a loss that never grows.
      flat = (x - jax.lax.stop_gradient(x)).sum((1, 2, 3))
      return jnp.stack([flat, -flat], -1)

    apgd.apgd(
      fn,
      images,
      jnp.zeros(1, int),
      jax.random.key(0),
      loss=lambda z: z[:, 0],
      epsilon=0.1,
      steps=20,
      start=images,
    )
    jax.effects_barrier()
    # The gradient is 1: from the best point, which stays the start, each
    # first step after a checkpoint shows the step size, cut at the ball.
    moves = [float((x - images).max()) for x in seen]
    self.assertEqual(moves[0], 0)
    self.assertAlmostEqual(moves[1], 0.1, places=6)
    self.assertLess(moves[-1], 0.01)


class DLRTest(parameterized.TestCase):
  def test_by_hand(self):
    logits = jnp.array([[4.0, 1.0, 3.0, 0.0, 2.0]])
    # Right 4, best wrong 3, third 2, fourth 1.
    value = losses.dlr(logits, jnp.array([0]))
    np.testing.assert_allclose(value, [-(4 - 3) / (4 - 2)], rtol=1e-6)
    value = losses.dlr(logits, jnp.array([4]))
    np.testing.assert_allclose(value, [-(2 - 4) / (4 - 2)], rtol=1e-6)
    value = losses.targeted_dlr(logits, jnp.array([0]), jnp.array([3]))
    np.testing.assert_allclose(value, [-(4 - 0) / (4 - 1.5)], rtol=1e-6)

  def test_shift_and_scale_do_not_matter(self):
    logits = jax.random.normal(jax.random.key(0), (8, 6))
    labels, targets = jnp.arange(8) % 6, (jnp.arange(8) + 1) % 6
    for fn in (
      lambda z: losses.dlr(z, labels),
      lambda z: losses.targeted_dlr(z, labels, targets),
    ):
      np.testing.assert_allclose(fn(logits), fn(7 * logits + 3), rtol=1e-4)

  def test_few_classes(self):
    logits = jnp.array([[1.0, 3.0]])
    label, target = jnp.array([1]), jnp.array([0])
    self.assertEqual(float(losses.dlr(logits, label)[0]), -2)
    self.assertEqual(float(losses.targeted_dlr(logits, label, target)[0]), -2)
    logits = jnp.array([[1.0, 3.0, 2.0]])
    np.testing.assert_allclose(
      losses.targeted_dlr(logits, label, target), [-2 / (3 - 1)], rtol=1e-6
    )


class SquareTest(chex.TestCase, parameterized.TestCase):
  def test_sides_of_the_schedule(self):
    sides = square.sides(5000, (32, 32), 'Linf')
    first = {}
    for query, side in enumerate(sides):
      first.setdefault(side, query)
    self.assertEqual(
      first,
      {29: 0, 20: 11, 14: 51, 10: 201, 7: 501, 5: 1001, 4: 2001, 3: 4001},
    )
    for side in square.sides(5000, (32, 32), 'L2'):
      self.assertEqual(side % 2, 1)
      self.assertGreaterEqual(side, 3)

  @parameterized.parameters('L2', 'L1')
  def test_bumps(self, norm):
    bump = square.bumps(7, norm)
    length = np.abs(bump).sum() if norm == 'L1' else np.sqrt((bump**2).sum())
    self.assertAlmostEqual(length, 1, places=5)
    self.assertTrue((bump[:3] > 0).all() and (bump[3:] < 0).all())

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_margins_fall_and_one_window_changes(self, norm):
    fn, _ = _linear(3)
    images, labels = _points(fn, wrong=0)
    epsilon = {'Linf': 0.004, 'L2': 0.02, 'L1': 0.05}[norm]
    settings = {'epsilon': epsilon, 'norm': norm}
    key = jax.random.key(0)
    state = square.begin(fn, images, labels, key, **settings)
    advance = jax.jit(
      lambda state, query: square.advance(
        fn, images, labels, key, state, query, 1, queries=60, **settings
      )
    )
    sides = square.sides(60, SHAPE[:2], norm)
    if norm == 'Linf':
      delta = np.abs(np.asarray(state.images) - images)
      np.testing.assert_allclose(delta, epsilon, atol=1e-6)
    improved = 0
    for query in range(12):
      new = advance(state, query)
      self.assertTrue(bool((new.margin <= state.margin).all()))
      improved += int((new.margin < state.margin).sum())
      if norm == 'Linf':
        changed = np.abs(np.asarray(new.images - state.images)).max(-1) > 1e-7
        for image in changed:
          rows, columns = np.nonzero(image)
          if len(rows):
            self.assertLess(np.ptp(rows), sides[query])
            self.assertLess(np.ptp(columns), sides[query])
      state = new
    self.assertGreater(improved, 5)
    delta = np.asarray(state.images - images).reshape(len(images), -1)
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    self.assertLessEqual(
      np.linalg.norm(delta, order, axis=-1).max(), epsilon * (1 + 1e-4)
    )

  def test_parts_equal_the_whole(self):
    fn, _ = _linear(3)
    images, labels = _points(fn, wrong=0)
    settings = {'epsilon': 0.01, 'queries': 30}
    key = jax.random.key(0)
    whole = square.square(fn, images, labels, key, **settings)
    state = square.begin(fn, images, labels, key, epsilon=0.01)
    for query in (0, 10, 20):
      state = square.advance(
        fn, images, labels, key, state, query, 10, **settings
      )
    parts = square.result(fn, images, labels, state)
    chex.assert_trees_all_equal(whole, parts)


class InvarianceTest(chex.TestCase):
  """Noise belongs to the point: nothing else matters."""

  def setUp(self):
    super().setUp()
    self.fn, _ = _linear(3)
    self.images, self.labels = _points(self.fn, wrong=1)
    self.attacks = ('apgd_ce', 'square')

  def _run(self, images=None, labels=None, **kwargs):
    return _run(
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

  def test_killed_after_every_batch_and_resumed(self):
    whole = self._run(batch_size=6)
    path = helpers.folder(self) / 'state' / 'aa.json'
    calls = 0

    class Killed(Exception):
      pass

    for allowed in (2, 3, 4, 5, 1000):
      calls = 0

      def tick(*progress, allowed=allowed):
        nonlocal calls
        if progress[0] != 'clean':
          calls += 1
        if calls > allowed:
          raise Killed

      try:
        report = self._run(batch_size=6, state_path=path, tick=tick)
      except Killed:
        self.assertLess(allowed, 1000)
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
      other, _ = _linear(3, seed=5)
      self.fn = other
      report = self._run(batch_size=6, state_path=path)
      self.assertIn('clean_accuracy_changed', report.flags)
    with self.subTest('a broken file is named'):
      path.write_text('{')
      with self.assertRaisesRegex(ValueError, 'is not the state'):
        self._run(batch_size=6, state_path=path)


class FlagsTest(chex.TestCase):
  def _flags(self, fn, images=None, labels=None, **kwargs):
    if images is None:
      images, labels = _points(lambda x: np.array(fn(x), np.float32), wrong=0)
    kwargs = {'epsilon': 0.01, 'attacks': ('apgd_dlr',), **kwargs}
    report = _run(fn, images, labels, version='custom', restarts=1, **kwargs)
    json.dumps(report.to_json())
    return report

  def test_none_on_an_honest_network(self):
    fn, _ = _linear(4)
    report = self._flags(fn, attacks=('apgd_dlr', 'apgd_t', 'square'))
    self.assertEqual(report.flags, {})

  def test_softmax_output(self):
    fn, _ = _linear(4)
    report = self._flags(lambda x: jax.nn.softmax(fn(x)))
    self.assertIn('softmax_output', report.flags)

  def test_masked_gradients(self):
    """Quantised inputs: no gradient, and Square does not need one."""
    fn, _ = _linear(4)
    masked = lambda x: fn(jnp.round(x * 100) / 100)
    report = self._flags(
      masked,
      attacks=('apgd_ce', 'apgd_dlr', 'square'),
      epsilon=0.03,
      queries=200,
    )
    self.assertIn('zero_gradient', report.flags)
    self.assertRegex(report.flags['zero_gradient'], r'2\d points')
    self.assertIn('square_improves', report.flags)

  def test_constant_network(self):
    images = np.full((6, *SHAPE), 0.5, np.float32)
    labels = np.array([0, 0, 0, 1, 2, 2])
    report = self._flags(
      lambda x: jnp.tile(jnp.array([[1.0, 0, 0, 0]]), (len(x), 1)),
      images,
      labels,
    )
    self.assertEqual(report.robust_accuracy, 0.5)
    self.assertIn('zero_gradient', report.flags)

  def test_few_classes(self):
    for classes in (2, 3):
      fn, _ = _linear(classes)
      report = self._flags(fn, attacks=('apgd_dlr', 'apgd_t', 'fab_t'))
      self.assertIn(f'With {classes} classes', report.flags['few_classes'])
      self.assertEqual(report.settings['targets'], classes - 1)
    one = _run(
      lambda x: x.sum((1, 2, 3))[:, None],
      np.full((2, *SHAPE), 0.5, np.float32),
      np.zeros(2, int),
    )
    self.assertEqual(one.robust_accuracy, 1)
    self.assertIn('no attack applies', one.flags['few_classes'])

  def test_nan_logits(self):
    fn, _ = _linear(4)
    images, labels = _points(fn)
    images[3, 0, 0, 0] = 0.9
    report = self._flags(
      lambda x: fn(x) + jnp.where(x[:, 0, 0] > 0.8, jnp.nan, 0),
      images,
      labels,
    )
    self.assertIn('1 points', report.flags['not_finite'])

  def test_low_precision(self):
    fn, _ = _linear(4)
    images, labels = _points(fn, wrong=0)
    low = lambda x: fn(x).astype(jnp.bfloat16)
    report = self._flags(low, images, labels)
    self.assertIn('bfloat16', report.flags['precision'])
    with self.subTest('search in bfloat16, decision in float32'):
      exact = _run(
        fn, images, labels, epsilon=0.01, version='custom', attacks=('apgd_t',)
      )
      report = _run(
        fn,
        images,
        labels,
        epsilon=0.01,
        version='custom',
        attacks=('apgd_t',),
        search_logits_fn=low,
      )
      self.assertNotIn('precision', report.flags)
      self.assertTrue(report.settings['searched_with_another_function'])
      # What counts as broken fools the float32 function.
      predicted = np.array(fn(report.adversarial)).argmax(-1)
      broken = np.array(report.outcome) == 'apgd_t'
      self.assertTrue(np.all(predicted[broken] != labels[broken]))
      self.assertGreaterEqual(report.robust_accuracy, exact.robust_accuracy)
    with self.subTest('a search that errs is told'):
      # It takes any image for broken once a pixel has moved.
      wrong = lambda x: fn(x) * jnp.sign(1e-6 - jnp.abs(x - images[:1]).max())
      report = _run(
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
    fn, _ = _linear(4)
    images, labels = _points(fn, wrong=0)

    def noisy(x, keys):
      draw = jax.vmap(lambda k: jax.random.normal(k, SHAPE))(keys)
      return fn(x + 0.01 * draw)

    runs = [
      _run(noisy, images, labels, epsilon=0.01, version='rand', samples=4, **k)
      for k in ({}, {'batch_size': 8})
    ]
    self.assertEqual(runs[0].outcome, runs[1].outcome)
    self.assertLess(runs[0].robust_accuracy, runs[0].clean_accuracy)
    self.assertNotIn('randomised', runs[0].flags)
    self.assertEqual(runs[0].settings['samples'], 4)


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'images': np.full((4, *SHAPE), 1.5, np.float32)}, r'in \[0, 1\]; got'),
    ({'images': np.zeros((4, 5), np.float32)}, r'\[N, H, W, C\]'),
    ({'images': np.zeros((0, *SHAPE), np.float32)}, 'N at least 1'),
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
    fn, _ = _linear(4)
    arguments = {
      'logits_fn': fn,
      'images': np.full((4, *SHAPE), 0.5, np.float32),
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


class VersionTest(parameterized.TestCase):
  @parameterized.parameters(
    ('standard', 'Linf', 10, 1, 9, 1, 9),
    ('standard', 'L1', 10, 5, 9, 1, 5),
    ('plus', 'Linf', 10, 5, 9, 1, 9),
    ('rand', 'L2', 10, 1, 9, 20, 9),
    ('custom', 'Linf', 10, 5, 9, 1, 9),
    ('standard', 'Linf', 4, 1, 3, 1, 3),
  )
  def test_settings(self, version, norm, classes, *expected):
    made = suite.settings_of(version, norm=norm, epsilon=0.1, classes=classes)
    found = (made.restarts, made.targets, made.samples)
    self.assertEqual((*found, suite.stages('apgd_t', made)), expected)
    self.assertEqual((made.steps, made.queries), (100, 5000))
    self.assertEqual(made.shrinking, norm == 'L1')

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
