"""One table: what every method must do."""

import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import build, checkpoint, methods, parallel, results
from peeraid_jax import config as config_lib
from peeraid_jax.data import batches
from tests import helpers

# name -> what `method.kwargs` are set to
ROWS = {
  'natural': ('natural', {}),
  'pgd_at': ('pgd_at', {}),
  'trades': ('trades', {}),
  'peeraid': ('peeraid', {}),
  'peeraid_frozen_peer': ('peeraid', {'freeze_peer': True}),
}


def _config(row):
  method, kwargs = ROWS[row]
  made = helpers.config(method)
  made.method.kwargs.update(kwargs)
  return made


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

  @parameterized.parameters(*ROWS)
  def test_step(self, row):
    made = _config(row)
    method = build.method(made)
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
        results.write(results.pathlib.Path(path), config_lib.to_json(made))
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

  @parameterized.parameters(*ROWS)
  def test_one_device_equals_two(self, row):
    made = _config(row)
    told = []
    for devices in (1, 2):
      stepper = helpers.Stepper(made, devices=devices)
      state, metrics = stepper.take(stepper.start(), 2)
      told.append((jax.device_get(state), metrics))
    # The sums of a batch are added in another order: float32 rounding, which
    # the sign of an attack's step amplifies only where a gradient is ~0.
    chex.assert_trees_all_close(told[0], told[1], rtol=2e-3, atol=2e-4)

  @parameterized.parameters(*ROWS)
  def test_adversarial_images_stay_in_the_ball(self, row):
    made = _config(row)
    method = build.method(made)
    state = build.state(made)
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    keys = batches.keys_of(jax.random.key(0), jnp.arange(16))
    nets = {r: state.nets[r] for r in (*method.trained, *method.fixed)}
    adv = jax.jit(method.craft)(nets, batch, keys)
    images = adv['images'] if isinstance(adv, dict) else adv
    self.assertLessEqual(
      float(jnp.abs(images - batch.images).max()), 0.1 + 1e-6
    )
    self.assertGreaterEqual(float(images.min()), 0)
    self.assertLessEqual(float(images.max()), 1)
    if row != 'natural':
      self.assertGreater(float(jnp.abs(images - batch.images).max()), 0.05)


class PeerAiDTest(parameterized.TestCase):
  def test_running_statistics(self):
    """Peer: one update from x*. Student: two from x*, then one from x."""
    made = helpers.config()
    method = build.method(made)
    state = build.state(made)
    nets = {r: state.nets[r] for r in ('student', 'peer')}
    # Outside of pmap there is no axis to average statistics over.
    nets = {
      r: n.replace(module=n.module.clone(axis_name=None))
      for r, n in nets.items()
    }
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    adv = {
      'images': 1 - batch.images,
      'peer_clean_logits': jnp.zeros((16, 10)),
    }
    _, (after, _) = method.loss(nets, batch, adv, None)

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
    state = build.state(made)
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
