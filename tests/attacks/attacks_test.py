"""Attacks by name: what all of them guarantee, and new ones from outside."""

from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import attacks
from tests import helpers
from tests.attacks import plane

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
    """Away from the walls of the box, the worst case in the ball is known."""
    images, labels = plane.points()
    # Gradient attacks find it, as the gradient points there everywhere.
    dual = (
      np.abs(plane.WEIGHT).sum()
      if norm == 'Linf'
      else np.sqrt(np.square(plane.WEIGHT).sum())
    )
    score = np.asarray(plane.logits_fn(images)[:, 1])
    robust = np.abs(score) > 0.1 * dual
    adv = _attack(name, norm)(
      plane.logits_fn, images, labels, jax.random.key(0)
    )
    survived = np.asarray(jnp.argmax(plane.logits_fn(adv), -1) == labels)
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
    images, labels = plane.points(4)
    attack = _attack(name, norm, epsilon=0.0)
    adv = attack(plane.logits_fn, images, labels, jax.random.key(0))
    np.testing.assert_array_equal(adv, images)


class NamesTest(parameterized.TestCase):
  @parameterized.parameters('pgd', 'pgd0', 'apgd', 'CW30', 'pgd20x')
  def test_unknown_names_list_the_known(self, name):
    self.assertNotIn(name, attacks.ATTACKS)
    with self.assertRaisesRegex(
      ValueError, f"'{name}'.*known: clean, fgsm, pgd<steps>.* autoattack,"
    ):
      _attack(name, 'Linf')

  @parameterized.parameters('clean', 'fgsm', 'pgd1', 'pgd20', 'cw30')
  def test_names_are_in_the_registry(self, name):
    self.assertIn(name, attacks.ATTACKS)

  def test_clean_is_no_attack(self):
    images, labels = plane.points(4)
    attack = _attack('clean', 'Linf')
    adv = attack(plane.logits_fn, images, labels, jax.random.key(0))
    np.testing.assert_array_equal(adv, images)


def _brighten(*, epsilon, **settings):
  """A toy attack as a user writes it: all pixels brighter by epsilon."""
  del settings
  return lambda logits_fn, images, labels, key: jnp.clip(images + epsilon, 0, 1)


class RegisterTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(mock.patch.dict(attacks.ATTACKS._entries))

  def test_an_attack_from_outside(self):
    attacks.register('brighten', _brighten)
    self.assertIn('brighten', attacks.ATTACKS)
    images, labels = plane.points(4)
    attack = _attack('brighten', 'Linf')
    adv = attack(plane.logits_fn, images, labels, jax.random.key(0))
    np.testing.assert_allclose(adv, images + 0.1, rtol=1e-6)
    with self.assertRaisesRegex(ValueError, 'known: clean, fgsm, brighten'):
      _attack('darken', 'Linf')

  @parameterized.parameters('fgsm', 'pgd20', 'autoattack', 'transfer')
  def test_a_taken_name_is_refused(self, name):
    with self.assertRaisesRegex(ValueError, f"'{name}' exists already"):
      attacks.register(name, _brighten)

  def test_a_taken_name_can_be_replaced(self):
    attacks.register('fgsm', _brighten, replace=True)
    images, labels = plane.points(4)
    adv = _attack('fgsm', 'Linf')(plane.logits_fn, images, labels, None)
    np.testing.assert_allclose(adv, images + 0.1, rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
