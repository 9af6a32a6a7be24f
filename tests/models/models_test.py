"""Networks by name: families, registration, settings."""

from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import attacks, models, nets


class LinearNetwork(models.Network):
  """A network as a user writes it: an embedding and a linear layer."""

  @nn.compact
  def __call__(self, images, train: bool = False) -> models.Output:
    embedding = images.mean(axis=(1, 2))
    logits = nn.Dense(self.num_classes)(embedding)
    return models.Output(logits, images, embedding)


class FamilyTest(parameterized.TestCase):
  def test_other_wide_networks_by_name(self):
    module = models.create('dm_wideresnet16x4', num_classes=7)
    self.assertEqual(
      (module.depth, module.widen, module.deepmind), (16, 4, True)
    )
    self.assertFalse(models.create('wideresnet16x4', num_classes=7).deepmind)

  @parameterized.parameters(
    'wideresnet15x4', 'wideresnet4x4', 'wideresnet10x0', 'wideresnet16'
  )
  def test_other_depths_are_unknown(self, name):
    self.assertNotIn(name, models.MODELS)
    with self.assertRaisesRegex(
      ValueError, f"'{name}' is unknown; known: resnet18.*wideresnet<depth>x"
    ):
      models.create(name, num_classes=7)

  @parameterized.parameters('resnet18', 'wideresnet16x4', 'dm_wideresnet10x1')
  def test_names_are_in_the_registry(self, name):
    self.assertIn(name, models.MODELS)


class RegisterTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(mock.patch.dict(models.MODELS._entries))

  def test_a_network_from_outside(self):
    models.register('linear', LinearNetwork)
    self.assertIn('linear', models.MODELS)
    self.assertIs(models.get('linear'), LinearNetwork)
    module = models.create('linear', num_classes=3, axis_name='devices')
    net = nets.create(
      module,
      jax.random.key(0),
      (4, 4, 1),
    )
    images = jnp.full((2, 4, 4, 1), 0.5)
    logits_fn = nets.logits_fn(net)
    self.assertEqual(logits_fn(images).shape, (2, 3))
    output, trained = net.train(images)
    self.assertEqual(output.embedding.shape, (2, 1))
    self.assertEqual(trained.batch_stats, {})
    adversarial = attacks.fgsm(
      logits_fn, images, jnp.zeros(2, int), epsilon=0.1
    )
    self.assertAlmostEqual(float(abs(adversarial - 0.5).max()), 0.1, places=6)

  def test_a_taken_name_is_refused(self):
    for name in ('resnet18', 'wideresnet16x4'):
      with self.assertRaisesRegex(ValueError, f"'{name}' exists already"):
        models.register(name, LinearNetwork)
    models.register('resnet18', LinearNetwork, replace=True)
    self.assertIs(models.get('resnet18'), LinearNetwork)


class SettingsTest(absltest.TestCase):
  def test_normalization_by_numbers(self):
    self.assertEqual(models.normalization_of('0.5/0.2'), ((0.5,), (0.2,)))
    self.assertEqual(
      models.normalization_of('0.1,0.2,0.3/1,2,3'), ((0.1, 0.2, 0.3), (1, 2, 3))
    )
    for name in ('0.5', '0.5/0', '0.5,0.5/0.2', 'a/b', '1/2/3'):
      with self.assertRaisesRegex(ValueError, 'unknown'):
        models.normalization_of(name)

  def test_bad_input_lists_what_is_known(self):
    with self.assertRaisesRegex(ValueError, "'resnet19'.*known: resnet18"):
      models.create('resnet19', num_classes=10)
    with self.assertRaisesRegex(ValueError, 'float16.*known: float32'):
      models.create('resnet18', num_classes=10, dtype='float16')
    with self.assertRaisesRegex(ValueError, 'width=0'):
      models.create('resnet18', num_classes=10, width=0)
    with self.assertRaisesRegex(ValueError, 'gpu.*known: auto, stock, cpu'):
      models.create('resnet18', num_classes=10, convolutions='gpu')


if __name__ == '__main__':
  absltest.main()
