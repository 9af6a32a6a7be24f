"""Nets: running statistics, temperature, prediction, changes of modules."""

from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import nets
from peeraid_jax.models import resnet
from tests import helpers


class NetTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.net = helpers.net()
    self.images = jnp.asarray(helpers.digits(12).images / np.float32(255))

  def test_train_moves_statistics_and_eval_does_not(self):
    _, trained = self.net.train(self.images)
    self.assertNotEqual(
      jax.tree.leaves(trained.batch_stats)[0].sum(),
      jax.tree.leaves(self.net.batch_stats)[0].sum(),
    )
    chex.assert_trees_all_equal(trained.params, self.net.params)

  def test_two_updates_equal_two_passes(self):
    output, once = self.net.train(self.images)
    again, twice = once.train(self.images)
    merged_output, merged = self.net.train(self.images, updates=2)
    chex.assert_trees_all_close(output.logits, again.logits)
    chex.assert_trees_all_close(output.logits, merged_output.logits)
    chex.assert_trees_all_close(
      merged.batch_stats, twice.batch_stats, rtol=1e-5, atol=1e-7
    )

  def test_a_batch_taken_in_again_equals_a_third_pass(self):
    _, once = self.net.train(self.images)
    _, other = once.train(1 - self.images)
    _, third = other.train(self.images)
    merged = other.take_in_again(self.net, once)
    chex.assert_trees_all_close(
      merged.batch_stats, third.batch_stats, rtol=1e-5, atol=1e-6
    )

  def test_a_program_traces_a_network_once(self):
    train_arguments = []
    call = resnet.ResNet.__call__

    def recorded(module, images, train=False):
      train_arguments.append(train)
      return call(module, images, train)

    # A shape of images that no other test has traced.
    images = jnp.ones((3, 6, 10, 1))

    def loss(net):
      output, net = net.train(images)
      again, _ = net.train(images + output.logits.mean())
      return again.logits.sum() + net.eval(images).logits.sum()

    with mock.patch.object(resnet.ResNet, '__call__', recorded):
      net = nets.create(helpers.net().module, jax.random.key(0), (6, 10, 1))
      train_arguments.clear()
      jax.make_jaxpr(jax.grad(loss))(net)
    self.assertEqual(sorted(train_arguments), [False, True])

  def test_logits_fn_can_change_convolutions_and_precision(self):
    traced = lambda **changes: str(
      jax.make_jaxpr(nets.logits_fn(self.net, **changes))(self.images)
    )
    self.assertIn('custom_vjp', traced())
    self.assertNotIn('custom_vjp', traced(convolutions='stock'))
    self.assertNotIn('bf16', traced())
    self.assertIn('bf16', traced(dtype=jnp.bfloat16))
    with self.assertRaisesRegex(ValueError, 'known: auto, stock, cpu'):
      nets.logits_fn(self.net, convolutions='fast')

  def test_standalone_can_be_called_outside_of_the_axis(self):
    net = helpers.net(axis_name='devices')
    with self.assertRaisesRegex(NameError, 'devices'):
      net.train(self.images)
    alone = nets.standalone(net)
    chex.assert_trees_all_equal(
      alone.train(self.images), self.net.train(self.images)
    )

  def test_statistics_carry_no_gradient(self):
    def total(params):
      _, trained = self.net.replace(params=params).train(self.images)
      return sum(s.sum() for s in jax.tree.leaves(trained.batch_stats))

    grads = jax.grad(total)(self.net.params)
    self.assertEqual(max(abs(g).max() for g in jax.tree.leaves(grads)), 0)

  def test_temperature_divides_logits_in_training_and_inference(self):
    cold = self.net.replace(temperature=4.0)
    chex.assert_trees_all_close(
      cold.eval(self.images).logits, self.net.eval(self.images).logits / 4
    )
    divided, trained = cold.train(self.images)
    undivided, _ = self.net.train(self.images)
    chex.assert_trees_all_close(divided.logits, undivided.logits / 4)
    self.assertEqual(trained.temperature, 4.0)
    np.testing.assert_allclose(
      nets.predict(cold, self.images),
      self.net.eval(self.images).logits / 4,
      rtol=1e-5,
      atol=1e-5,
    )

  def test_predict(self):
    images = helpers.digits(12).images
    logits = nets.predict(self.net, images, batch_size=5)
    expected = self.net.eval(self.images).logits
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    floats = nets.predict(self.net, images / np.float32(255))
    np.testing.assert_allclose(floats, expected, rtol=1e-5, atol=1e-5)
    self.assertEqual(nets.predict(self.net, images[:0]).shape, (0, 10))

  def test_predict_refuses_normalised_images(self):
    with self.assertRaisesRegex(ValueError, r'in \[0, 1\]; got'):
      nets.predict(self.net, np.full((1, 8, 8, 1), 1.5, np.float32))
    with self.assertRaisesRegex(ValueError, r'\[N, H, W, C\], got \(8, 8\)'):
      nets.predict(self.net, np.zeros((8, 8), np.uint8))

  def test_count(self):
    leaves = jax.tree.leaves(self.net.params)
    self.assertEqual(nets.count_params(self.net), sum(x.size for x in leaves))


if __name__ == '__main__':
  absltest.main()
