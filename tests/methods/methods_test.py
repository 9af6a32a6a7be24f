"""One table: what every method must do."""

import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import files, methods
from peeraid_jax.data import batches
from peeraid_jax.methods import base
from peeraid_jax.runtime import parallel
from peeraid_jax.training import averaging, build, checkpoint
from tests import helpers

# name -> what `method.kwargs` are set to
ROWS = {
  'natural': ('natural', {}),
  'pgd_at': ('pgd_at', {}),
  'trades': ('trades', {}),
  'mart': ('mart', {}),
  'ard': ('ard', {}),
  'ard_as_authors': (
    'ard',
    {'alpha': 0.9, 'reduction': 'mean', 'train_mode_attack': True},
  ),
  'rslad': ('rslad', {}),
  'akd2': ('akd2', {}),
  'iad1': ('iad1', {'begin_epoch': 0}),
  'iad2': ('iad2', {'begin_epoch': 0, 'train_mode_attack': True}),
  'adaad': ('adaad', {'alpha': 0.5}),
  'adaiad': ('adaiad', {'begin_epoch': 0}),
  'ltd': ('ltd', {}),
  'ltd_at': ('ltd', {'base_loss': 'at', 'hard_weight': 0.3}),
  'agkd_bml': ('agkd_bml', {}),
  'agkd_alone': ('agkd_bml', {'bml': False, 'mart': False}),
  'bml_alone': ('agkd_bml', {'agkd': False, 'statistics': 'separate'}),
  'peeraid': ('peeraid', {}),
  'peeraid_frozen_peer': ('peeraid', {'freeze_peer': True}),
}


# Options of methods that have a row of their own.
VARIANTS = (
  'ard_as_authors',
  'ltd_at',
  'agkd_alone',
  'bml_alone',
  'peeraid_frozen_peer',
)


def _config(row):
  method, kwargs = ROWS[row]
  made = helpers.config(method)
  made.method.kwargs.update(kwargs)
  # Near the image KL is flat: signs of rounding errors would steer the attack.
  made.attack.start_scale = 0.05
  return made


def _off_the_axis(nets, roles):
  """Networks for use outside of pmap: no axis to average statistics over."""
  return {
    role: nets[role].replace(module=nets[role].module.clone(axis_name=None))
    for role in roles
  }


def _distance(a, b) -> float:
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(float(np.abs(x - y).max()) for x, y in pairs)


class TableTest(absltest.TestCase):
  def test_every_method_has_a_row(self):
    self.assertEqual({m for m, _ in ROWS.values()}, set(methods.METHODS))


class MethodsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    chex.clear_trace_counter()

  @parameterized.parameters(*[row for row in ROWS if row not in VARIANTS])
  def test_step(self, row):
    self._test_step(row)

  @parameterized.parameters(*VARIANTS)
  @pytest.mark.slow
  def test_step_of_a_variant(self, row):
    self._test_step(row)

  def _test_step(self, row):
    made = _config(row)
    method = build.plan(made).method
    traced = chex.assert_max_traces(n=1)
    stepper = helpers.Stepper(made, wrap=traced)
    start = jax.device_get(stepper.start())

    with self.subTest('roles that are trained move, the others do not'):
      state, told = stepper.take(stepper.start(), 3)
      after = jax.device_get(state)
      for role in method.trained:
        for part in ('params', 'batch_stats'):
          old = getattr(start.nets[role], part)
          new = getattr(after.nets[role], part)
          self.assertGreater(_distance(old, new), 1e-4, (role, part))
      for role in (*method.fixed, 'student_swa'):
        chex.assert_trees_all_equal(start.nets[role], after.nets[role])
      self.assertEqual(int(after.step), 3)

    with self.subTest('metrics are finite and named by role'):
      names = {f'{role}/grad_norm' for role in method.trained} | {'loss'}
      self.assertLessEqual(names, set(told[-1]))
      self.assertTrue(all(np.isfinite(v) for v in told[-1].values()))

    with self.subTest('same key, same bits'):
      again, _ = stepper.take(stepper.start(), 3)
      chex.assert_trees_all_equal(after, jax.device_get(again))

    with self.subTest('3 steps + save + restore + 2 = 5, bit for bit'):
      with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/config.json'
        files.write_json(path, config_lib.to_json(made))
        checkpoint.save(folder, again, {'best': {}}, which='latest')
        restored, meta = checkpoint.restore_with_meta(folder)
      self.assertEqual(meta, {'best': {}})
      on_one = parallel.replicate(jax.device_get(restored), stepper.devices)
      resumed, _ = stepper.take(on_one, 2)
      straight, _ = stepper.take(state, 2)
      chex.assert_trees_all_equal(
        jax.device_get(resumed), jax.device_get(straight)
      )

    with self.subTest('the loss falls on a repeated batch'):
      _, told = stepper.take(stepper.start(), 40, repeat=True)
      first = np.mean([t['loss'] for t in told[:5]])
      last = np.mean([t['loss'] for t in told[-5:]])
      self.assertLess(last, first)

    with self.subTest('1 device = 2 devices'):
      one = stepper.take(stepper.start(), 1)
      stepper = helpers.Stepper(made, devices=2)
      two = stepper.take(stepper.start(), 1)
      # The sums of a batch are added in another order: float32 rounding,
      # which the sign of an attack's step amplifies where a gradient is ~0.
      # A gradient that was not averaged is off by more than 1e-2.
      chex.assert_trees_all_close(
        jax.device_get(one), jax.device_get(two), rtol=5e-3, atol=5e-4
      )

  @parameterized.parameters(*ROWS)
  def test_adversarial_images_stay_in_the_ball(self, row):
    made = _config(row)
    method = build.plan(made).method
    state = build.initial_state(build.plan(made))
    data = build.resident(build.plan(made), helpers.digits())
    batch = batches.take(jax.tree.map(jnp.asarray, data), jnp.arange(16))
    pool = batches.Pool(data, padding=1, flip=False)
    batch = batch._replace(pool=pool if method.draws_by_class else None)
    keys = batches.keys_of(jax.random.key(0), jnp.arange(16))
    nets = _off_the_axis(state.nets, (*method.trained, *method.fixed))
    adv = jax.jit(method.craft)(nets, batch, keys)
    adv = adv if isinstance(adv, dict) else {'images': adv}
    pairs = [(adv['images'], batch.images)]
    if 'other' in adv:
      pairs.append((adv['other_adv'], adv['other']))
    for images, center in pairs:
      self.assertLessEqual(float(jnp.abs(images - center).max()), 0.1 + 1e-6)
      self.assertGreaterEqual(float(images.min()), 0)
      self.assertLessEqual(float(images.max()), 1)
      if row != 'natural':
        self.assertGreater(float(jnp.abs(images - center).max()), 0.05)


class AWPTest(parameterized.TestCase):
  def _take(self, method, steps, **awp):
    made = helpers.config(method)
    made.attack.start_scale = 0.05  # As in `_config`.
    made.awp.update(awp)
    if method == 'peeraid':
      made.awp.roles = ('student', 'peer')
    stepper = helpers.Stepper(made)
    state, told = stepper.take(stepper.start(), steps)
    return jax.device_get(state), [float(t['loss']) for t in told]

  def test_gamma_0_equals_none(self):
    self._gamma_0('peeraid')

  @parameterized.parameters('pgd_at', 'trades', 'mart')
  @pytest.mark.slow
  def test_gamma_0_equals_none_in_others(self, method):
    self._gamma_0(method)

  def _gamma_0(self, method):
    none, _ = self._take(method, 2, enabled=False)
    zero, _ = self._take(method, 2, enabled=True, gamma=0.0)
    # Two programs: XLA may round in other places.
    chex.assert_trees_all_close(none, zero, rtol=5e-3, atol=5e-4)

  def test_starts_with_its_epoch_and_raises_the_loss(self):
    # Two epochs of four steps: the second begins with step 4.
    _, without = self._take('trades', 6, enabled=False)
    _, late = self._take('trades', 6, enabled=True, gamma=0.05, start_epoch=1)
    np.testing.assert_allclose(without[:4], late[:4], rtol=5e-3)
    # The reported loss is that at the perturbed weights.
    self.assertGreater(late[4], without[4] * 1.05)


class TrainModeAttackTest(absltest.TestCase):
  def test_every_attack_step_updates_the_running_statistics(self):
    net = helpers.net()
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    seen = []

    def maximise(objective, images, keys, carry):
      del keys
      for step in range(3):
        images = images * (1 - 0.1 * step)
        seen.append(images)
        _, carry = objective(images, carry)
      return images, carry

    craft = base.ascend_cross_entropy(maximise, train_mode=True)
    adv = craft({'student': net}, batch, None)
    expected = net
    for images in seen:
      _, expected = expected.train(images)
    chex.assert_trees_all_close(
      base.after_attack(net, adv), expected, rtol=1e-6
    )

  def test_eval_mode_updates_nothing(self):
    net = helpers.net()
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(2))
    craft = base.ascend_cross_entropy(
      lambda objective, x, keys: x + objective(x).sum() * 0
    )
    adv = craft({'student': net}, batch, None)
    chex.assert_trees_all_equal(base.after_attack(net, adv), net)


class TradesTest(absltest.TestCase):
  def test_running_statistics(self):
    """Clean, adversarial, clean: 0.181 of the one and 0.09 of the other."""
    net = helpers.net()
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    adv = {'images': 1 - batch.images}
    method = methods.create('trades', lambda *a: None)
    _, (after, _) = method.loss({'student': net}, batch, adv)
    on_clean, on_adv = (
      averaging.batch_statistics(net, x) for x in (batch.images, adv['images'])
    )
    expected = jax.tree.map(
      lambda old, c, a: 0.729 * old + 0.181 * c + 0.09 * a,
      net.batch_stats,
      on_clean,
      on_adv,
    )
    chex.assert_trees_all_close(
      after['student'].batch_stats, expected, rtol=1e-4, atol=1e-6
    )


class AGKDBMLTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.net = helpers.net()
    data = helpers.digits()
    classes = batches.classes_of(data.labels, 10)
    self.data = batches.Resident(*data, classes)
    batch = batches.take(self.data, jnp.arange(16))
    pool = batches.Pool(
      jax.tree.map(jnp.asarray, self.data), padding=0, flip=False
    )
    self.batch = batch._replace(pool=pool)

  def test_craft_is_targeted_both_ways(self):
    seen = []

    def maximise(objective, images, keys):
      seen.append((objective, images, keys))
      return images

    method = methods.create('agkd_bml', maximise)
    nets = {'student': self.net, 'teacher': helpers.net(1)}
    keys = batches.keys_of(jax.random.key(0), jnp.arange(16))
    method.craft(nets, self.batch, keys)
    (forward, x, forward_keys), (backward, other, backward_keys) = seen

    logits = np.array(self.net.eval(self.batch.images).logits)
    logits[np.arange(16), self.batch.labels] = -np.inf
    confusing = logits.argmax(-1)
    log_probs = jax.nn.log_softmax(self.net.eval(x).logits)
    np.testing.assert_array_equal(x, self.batch.images)
    # Maximised: the log-probability of the confusing class.
    np.testing.assert_allclose(
      forward(x), log_probs[np.arange(16), confusing], rtol=1e-5
    )
    # The other image is a training image of that class ...
    train = np.asarray(self.data.images) / np.float32(255)
    for image, wanted in zip(np.asarray(other), confusing, strict=True):
      match = np.abs(train - image).max(axis=(1, 2, 3)) < 1e-6
      self.assertEqual(set(self.data.labels[match]), {wanted})
    # ... that goes towards the label.
    log_probs = jax.nn.log_softmax(self.net.eval(other).logits)
    np.testing.assert_allclose(
      backward(other),
      log_probs[np.arange(16), self.batch.labels],
      rtol=1e-5,
      atol=1e-6,
    )
    self.assertFalse(
      np.array_equal(
        jax.random.key_data(forward_keys), jax.random.key_data(backward_keys)
      )
    )

  def _after(self, statistics):
    method = methods.create('agkd_bml', lambda *a: None, statistics=statistics)
    adv = {
      'images': 1 - self.batch.images,
      'other': self.batch.images[::-1],
      'other_adv': self.batch.images[::-1] * 0.5,
    }
    nets = {'student': self.net, 'teacher': helpers.net(1)}
    _, (after, _) = method.loss(nets, self.batch, adv)
    parts = adv['images'], self.batch.images, adv['other_adv']
    return after['student'].batch_stats, parts

  def test_joint_statistics_of_all_three_groups(self):
    found, parts = self._after('joint')
    _, expected = self.net.train(jnp.concatenate(parts))
    chex.assert_trees_all_close(found, expected.batch_stats, rtol=1e-5)

  def test_separate_statistics_keep_the_forward_ones(self):
    found, parts = self._after('separate')
    _, expected = self.net.train(parts[0])
    chex.assert_trees_all_close(found, expected.batch_stats, rtol=1e-5)


class PeerAiDTest(parameterized.TestCase):
  def test_running_statistics(self):
    """Peer: one update from x*. Student: two from x*, then one from x."""
    made = helpers.config()
    method = build.plan(made).method
    state = build.initial_state(build.plan(made))
    nets = _off_the_axis(state.nets, ('student', 'peer'))
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    adv = {
      'images': 1 - batch.images,
      'peer_clean_logits': jnp.zeros((16, 10)),
    }
    _, (after, _) = method.loss(nets, batch, adv)

    def statistics(net, images):
      _, moved = net.replace(
        batch_stats=jax.tree.map(jnp.zeros_like, net.batch_stats)
      ).train(images)
      return jax.tree.map(lambda s: s / 0.1, moved.batch_stats)

    on_adv = statistics(nets['student'], adv['images'])
    on_clean = statistics(nets['student'], batch.images)
    expected = jax.tree.map(
      lambda old, a, c: 0.729 * old + 0.171 * a + 0.1 * c,
      nets['student'].batch_stats,
      on_adv,
      on_clean,
    )
    chex.assert_trees_all_close(
      after['student'].batch_stats, expected, rtol=1e-4, atol=1e-6
    )
    expected = jax.tree.map(
      lambda old, a: 0.9 * old + 0.1 * a,
      nets['peer'].batch_stats,
      statistics(nets['peer'], adv['images']),
    )
    chex.assert_trees_all_close(
      after['peer'].batch_stats, expected, rtol=1e-4, atol=1e-6
    )

  def test_attack_is_on_the_student_in_eval_mode_at_temperature_one(self):
    """What the objective sees, by a `maximise` that records it."""
    seen = {}

    def maximise(objective, images, keys):
      del keys
      seen['value'] = objective(images + 0.1)
      return images

    made = helpers.config()
    state = build.initial_state(build.plan(made))
    nets = {
      'student': helpers.net(1),
      'peer': helpers.net(2),
    }
    del state
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(4))
    method = methods.create('peeraid', maximise, temperature=5.0)
    method.craft(nets, batch, None)
    p = jax.nn.log_softmax(nets['peer'].eval(batch.images).logits)
    s = jax.nn.log_softmax(nets['student'].eval(batch.images + 0.1).logits)
    np.testing.assert_allclose(
      seen['value'], jnp.sum(jnp.exp(p) * (p - s), -1), rtol=1e-5, atol=1e-6
    )

    labelled = methods.create('peeraid', maximise, attack_target='label')
    labelled.craft(nets, batch, None)
    expected = -jnp.take_along_axis(s, batch.labels[:, None], -1)[:, 0]
    np.testing.assert_allclose(seen['value'], expected, rtol=1e-5)

  def test_unknown_hyperparameter_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "'gama1'.*known: gamma1"):
      methods.create('peeraid', None, gama1=1)
    with self.assertRaisesRegex(ValueError, 'known: natural, pgd_at'):
      methods.create('pgdat', None)


if __name__ == '__main__':
  absltest.main()
