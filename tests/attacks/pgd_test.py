"""FGSM and PGD: steps, restarts, keys, and settings out of range."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import attacks, losses
from tests.attacks import plane


class FgsmTest(absltest.TestCase):
  def test_fgsm_by_hand(self):
    images = jnp.full((1, 2, 2, 1), 0.5).at[0, 0, 0, 0].set(0.95)
    adv = attacks.fgsm(plane.logits_fn, images, jnp.array([1]), epsilon=0.1)
    # Class 1 is lost along -sign(weight); 0.95 has room for -0.1.
    expected = images - 0.1 * np.sign(plane.WEIGHT)
    np.testing.assert_allclose(adv, expected, atol=1e-7)
    adv = attacks.fgsm(plane.logits_fn, images, jnp.array([0]), epsilon=0.1)
    self.assertEqual(adv[0, 0, 0, 0], 1)  # The box clips 1.05.

  def test_a_random_start_needs_a_key(self):
    images, labels = plane.points(2)
    with self.assertRaisesRegex(ValueError, "start='uniform' needs a key"):
      attacks.fgsm(
        plane.logits_fn, images, labels, epsilon=0.1, start='uniform'
      )


class PgdTest(parameterized.TestCase):
  def test_restarts_keep_the_worst_case(self):
    """Steps of length 0: the attack is its random start, and breaks some."""
    images, labels = plane.points()

    def broken(restarts):
      adv = attacks.pgd(
        plane.logits_fn,
        images,
        labels,
        jax.random.key(0),
        epsilon=0.2,
        step_size=0.0,
        steps=1,
        restarts=restarts,
      )
      logits = plane.logits_fn(adv)
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
    images, labels = plane.points(6)
    keys = attacks.per_example(jax.random.key(3), 6)
    attack = attacks.named('pgd5', epsilon=0.1, step_size=0.05, norm='Linf')
    whole = attack(plane.logits_fn, images, labels, keys)
    part = attack(plane.logits_fn, images[4:], labels[4:], keys[4:])
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
    images, labels = plane.points(2)
    settings = {'epsilon': 0.1, 'step_size': 0.1, 'steps': 2, **change}
    with self.assertRaisesRegex(ValueError, message):
      attacks.pgd(
        plane.logits_fn, images, labels, jax.random.key(0), **settings
      )


if __name__ == '__main__':
  absltest.main()
