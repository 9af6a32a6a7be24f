"""One table: what every attack must do; then what each one is."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import attacks, losses
from tests import helpers

# Two classes split by a plane: the exact worst case is known.
WEIGHT = np.array([1.0, -2.0, 0.5, 0.25], np.float32).reshape(1, 2, 2, 1)


def _linear(images):
  score = jnp.sum(images * WEIGHT, axis=(1, 2, 3))
  return jnp.stack([jnp.zeros_like(score), score], axis=-1)


def _points(count=64):
  images = np.random.default_rng(0).uniform(0.3, 0.7, (count, 2, 2, 1))
  images = jnp.asarray(images, jnp.float32)
  return images, jnp.argmax(_linear(images), axis=-1)


ROWS = [
  (name, norm)
  for name in ('fgsm', 'pgd5', 'pgd20', 'cw10')
  for norm in attacks.NORMS
]


def _attack(name, norm, epsilon=0.1, **kwargs):
  return attacks.named(
    name, epsilon=epsilon, step_size=epsilon / 2, norm=norm, **kwargs
  )


class TableTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(*ROWS)
  def test_exact_on_a_linear_classifier(self, name, norm):
    """Away from the box's walls, the ball's worst case is known."""
    images, labels = _points()
    # Gradient attacks find it: the gradient points there everywhere.
    dual = (
      np.abs(WEIGHT).sum()
      if norm == 'Linf'
      else np.sqrt(np.square(WEIGHT).sum())
    )
    score = np.asarray(_linear(images)[:, 1])
    robust = np.abs(score) > 0.1 * dual
    adv = _attack(name, norm)(_linear, images, labels, jax.random.key(0))
    survived = np.asarray(jnp.argmax(_linear(adv), -1) == labels)
    np.testing.assert_array_equal(survived, robust)
    self.assertGreater(robust.sum(), 5)
    self.assertGreater((~robust).sum(), 5)

  @parameterized.parameters(*ROWS)
  def test_stays_in_ball_and_box(self, name, norm):
    net = helpers.net()
    digits = helpers.digits(12)
    images = jnp.asarray(digits.images / np.float32(255))
    attack = jax.jit(
      lambda x, k: _attack(name, norm)(
        lambda z: net.eval(z).logits, x, jnp.asarray(digits.labels), k
      )
    )
    adv = attack(images, jax.random.key(0))
    delta = np.asarray(adv - images).reshape(12, -1)
    order = np.inf if norm == 'Linf' else 2
    size = np.linalg.norm(delta, order, axis=1)
    # float32: x + eps is off by up to 6e-8 per pixel.
    self.assertLessEqual(size.max(), 0.1 + 1e-6)
    self.assertGreater(size.min(), 0.01)
    self.assertGreaterEqual(float(adv.min()), 0)
    self.assertLessEqual(float(adv.max()), 1)
    again = attack(images, jax.random.key(0))
    chex.assert_trees_all_equal(adv, again)

  @parameterized.parameters(*ROWS)
  def test_epsilon_zero_changes_nothing(self, name, norm):
    images, labels = _points(4)
    attack = _attack(name, norm, epsilon=0.0)
    adv = attack(_linear, images, labels, jax.random.key(0))
    np.testing.assert_array_equal(adv, images)


class AttacksTest(chex.TestCase, parameterized.TestCase):
  def test_fgsm_by_hand(self):
    images = jnp.full((1, 2, 2, 1), 0.5).at[0, 0, 0, 0].set(0.95)
    adv = attacks.fgsm(_linear, images, jnp.array([1]), epsilon=0.1)
    # Class 1 is lost along -sign(weight); 0.95 has room for -0.1.
    expected = images - 0.1 * np.sign(WEIGHT)
    np.testing.assert_allclose(adv, expected, atol=1e-7)
    adv = attacks.fgsm(_linear, images, jnp.array([0]), epsilon=0.1)
    self.assertEqual(adv[0, 0, 0, 0], 1)  # The box clips 1.05.

  def test_maximise_takes_signed_steps_with_projection(self):
    images = jnp.full((1, 1, 1, 3), 0.5)
    slope = jnp.array([3.0, -0.1, 0.0]).reshape(1, 1, 1, 3)
    adv = attacks.maximise(
      lambda x: jnp.sum(x * slope, axis=(1, 2, 3)),
      images,
      jax.random.key(0),
      epsilon=0.1,
      step_size=0.04,
      steps=2,
      start='none',
    )
    np.testing.assert_allclose(adv[0, 0, 0], [0.58, 0.42, 0.5], atol=1e-6)

  def test_start_is_not_clipped(self):
    """As in the authors' code: the first gradient is taken at the noise."""
    adv = attacks.maximise(
      # Pixels that start below 0 have slope 1, the others none.
      lambda x: jnp.sum(jnp.minimum(x, 0), axis=(1, 2, 3)),
      jnp.zeros((1, 8, 8, 1)),
      jax.random.key(0),
      epsilon=0.1,
      step_size=0.1,
      steps=1,
      start='uniform',
    )
    # From a clipped start, at 0, a step would end at 0.1 exactly.
    self.assertLess(float(adv.max()), 0.1)
    self.assertGreater(float(adv.min()), 0)

  def test_restarts_keep_the_worst_case(self):
    """Steps of length 0: the attack is its random start, and breaks some."""
    images, labels = _points()

    def broken(restarts):
      adv = attacks.pgd(
        _linear,
        images,
        labels,
        jax.random.key(0),
        epsilon=0.2,
        step_size=0.0,
        steps=1,
        restarts=restarts,
      )
      logits = _linear(adv)
      loss = losses.cross_entropy(logits, labels)
      return np.asarray(jnp.argmax(logits, -1) != labels), np.asarray(loss)

    one, loss_of_one = broken(1)
    many, loss_of_many = broken(30)
    # Nothing that one start breaks is lost; many break more.
    self.assertTrue(np.all(many >= one))
    self.assertGreater(many.sum(), one.sum())
    # Of two classes, the larger loss is the broken one: it never falls.
    self.assertTrue(np.all(loss_of_many >= loss_of_one))
    self.assertGreater(np.mean(loss_of_many > loss_of_one), 0.9)

  def test_noise_depends_on_the_example_alone(self):
    images, labels = _points(6)
    keys = attacks.per_example(jax.random.key(3), 6)
    attack = _attack('pgd5', 'Linf')
    whole = attack(_linear, images, labels, keys)
    part = attack(_linear, images[4:], labels[4:], keys[4:])
    np.testing.assert_array_equal(whole[4:], part)

  @parameterized.parameters(
    ({'epsilon': 8.0}, 'epsilon=8.0 .*8 / 255'),
    ({'epsilon': -0.1}, 'epsilon=-0.1'),
    ({'steps': 0}, 'steps=0'),
    ({'norm': 'L7'}, "norm='L7' .*known: Linf, L2"),
    ({'start': 'random'}, "start='random' .*known: normal"),
    ({'restarts': 0}, 'restarts=0'),
  )
  def test_bad_settings(self, change, message):
    images, labels = _points(2)
    settings = {'epsilon': 0.1, 'step_size': 0.1, 'steps': 2, **change}
    with self.assertRaisesRegex(ValueError, message):
      attacks.pgd(_linear, images, labels, jax.random.key(0), **settings)

  @parameterized.parameters('pgd', 'pgd0', 'apgd', 'CW30', 'pgd20x')
  def test_unknown_names_list_the_known(self, name):
    with self.assertRaisesRegex(ValueError, f"'{name}'.*known: clean, fgsm"):
      _attack(name, 'Linf')


class CarryTest(chex.TestCase):
  def test_carry_goes_through_every_gradient(self):
    images, labels = _points(4)

    def objective(x, seen):
      values = losses.cross_entropy(_linear(x), labels)
      return values, seen + jnp.array([1.0, x.sum()])

    settings = {'epsilon': 0.1, 'step_size': 0.05, 'steps': 2, 'start': 'none'}
    key = jax.random.key(0)
    adv, seen = attacks.maximise(
      objective, images, key, carry=jnp.zeros(2), **settings
    )
    plain = attacks.maximise(
      lambda x: losses.cross_entropy(_linear(x), labels),
      images,
      key,
      **settings,
    )
    np.testing.assert_array_equal(adv, plain)
    half = attacks.maximise(
      lambda x: losses.cross_entropy(_linear(x), labels),
      images,
      key,
      **{**settings, 'steps': 1},
    )
    # It was evaluated at the image and after the first step.
    np.testing.assert_allclose(seen, [2, images.sum() + half.sum()], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
