"""Configs: the authors' settings pinned, and bad values refused."""

import importlib
import itertools

from absl.testing import absltest, parameterized

from peeraid_jax import build, methods, models, validate
from peeraid_jax import config as config_lib
from tests import helpers

# The six official runs: data, architecture -> temperature, tau, gamma1,
# gamma2, lambda1, lambda2, lambda3, epochs, decay epochs (from 0).
_CIFAR = (300, (214, 259, 284))
OFFICIAL = {
  ('cifar10', 'resnet18'): (5, 1, 1, 0.1, 0, 1, 1, *_CIFAR),
  ('cifar10', 'wideresnet34x10'): (5, 1, 1, 0.1, 0, 1, 1, *_CIFAR),
  ('cifar100', 'resnet18'): (5, 1, 1, 1, 0, 1, 1, *_CIFAR),
  ('cifar100', 'wideresnet34x10'): (5, 1, 1, 1, 0, 1, 1, *_CIFAR),
  ('tinyimagenet', 'resnet18'): (
    1, 1, 1, 100, 0.035, 35, 20, 200, (99, 149),
  ),
  ('tinyimagenet', 'wideresnet34x10'): (
    1, 1, 1, 100, 0.035, 35, 20, 100, (49, 79),
  ),
}  # fmt: skip

FILES = ('digits', 'cifar10', 'cifar100', 'svhn', 'tinyimagenet')


def _config(name, argument=None):
  return importlib.import_module(f'configs.{name}').get_config(argument)


class OfficialTest(parameterized.TestCase):
  @parameterized.parameters(*OFFICIAL)
  def test_settings(self, name, model):
    config = _config(name, f'student={model},peer={model}')
    kwargs = config.method.kwargs
    epochs, decays = config.train.epochs, (214, 259, 284)
    decays = config.optimizer.student.decay_epochs
    self.assertEqual(
      (
        kwargs.temperature,
        kwargs.peer_temperature,
        kwargs.gamma1,
        kwargs.gamma2,
        kwargs.lambda1,
        kwargs.lambda2,
        kwargs.lambda3,
        epochs,
        decays,
      ),
      OFFICIAL[name, model],
    )
    self.assertEqual(
      config_lib.roles(config), {'student': model, 'peer': model}
    )
    self.assertEqual(config.model.width, models.STANDARD_WIDTH)
    for role in config.optimizer.values():
      self.assertEqual(
        role.to_dict(),
        {
          'learning_rate': 0.1,
          'momentum': 0.9,
          'weight_decay': 2e-4,
          'warmup_epochs': 0.0,
          'decay_epochs': decays,
          'decay_factor': 0.1,
        },
      )
    self.assertEqual(
      config.attack.to_dict(),
      {
        'norm': 'Linf',
        'epsilon': 8 / 255,
        'step_size': 2 / 255,
        'steps': 10,
        'start': 'normal',
        'start_scale': 0.001,
      },
    )
    self.assertEqual(config.train.batch_size, 128)
    self.assertEqual((config.data.padding, config.data.flip), (4, True))
    self.assertEqual(config.data.train_examples, 0)
    # SWA starts with the student's first decay, selection is on the test set.
    self.assertTrue(config.swa.enabled)
    self.assertEqual(config.swa.start_epoch, decays[0])
    self.assertEqual(config.eval.select_on, 'test')
    self.assertEqual(config.eval.select_attack, 'pgd10')
    self.assertEqual(config.eval.every_epochs, 1)
    for ablation in ('detach_student', 'detach_clean', 'freeze_peer'):
      self.assertFalse(kwargs[ablation])
    self.assertEqual(kwargs.attack_target, 'peer')

  def test_wide_peer_follows_the_student(self):
    config = _config('cifar10', 'student=wideresnet34x10')
    self.assertEqual(config.model.peer, 'wideresnet34x10')

  def test_pgd_at_is_that_of_the_repository(self):
    config = _config('cifar10', 'method=pgd_at')
    self.assertEqual(config.attack.start, 'uniform')
    self.assertNotIn('peer', config.model)
    self.assertEqual(list(config.optimizer), ['student'])


class ConfigTest(parameterized.TestCase):
  @parameterized.parameters(*itertools.product(FILES, methods.METHODS))
  def test_every_file_takes_every_method(self, name, method):
    config = _config(name, f'method={method}')
    validate.validate(config)
    self.assertEqual(config.data.name, name)
    trained = build.method(config).trained
    self.assertEqual(set(trained), set(config.optimizer))

  @parameterized.parameters(
    ('method=foo', 'method=foo is unknown; known: natural, pgd_at'),
    ('student=foo', 'student=foo is unknown; known: resnet18'),
    ('width=16', "'width=16' is unknown; choices: method=..., student="),
    ('peeraid', "'peeraid' is unknown; choices"),
  )
  def test_unknown_choices(self, argument, message):
    with self.assertRaisesRegex(ValueError, message):
      _config('digits', argument)

  @parameterized.parameters(
    ('seed', -1, 'a whole number from 0'),
    ('dtype', 'float16', "one of 'float32', 'bfloat16'"),
    ('data__name', 'mnist', "one of 'digits'"),
    ('data__train_examples', -5, 'at least 0'),
    ('model__width', 0, 'at least 1'),
    ('model__peer', 'resnet19', "one of 'resnet18'"),
    ('attack__epsilon', 8.0, 'from 0 to 1'),
    ('attack__epsilon', float('nan'), 'from 0 to 1'),
    ('attack__steps', 0, 'at least 1'),
    ('attack__norm', 'L1', "one of 'Linf', 'L2'"),
    ('attack__start', 'zero', "one of 'normal'"),
    ('train__epochs', 0, 'at least 1'),
    ('train__batch_size', 0, 'at least 1'),
    ('optimizer__peer__momentum', 1.5, 'from 0 to 1'),
    ('optimizer__student__decay_epochs', (20, 10), 'rising whole epochs'),
    ('eval__select_on', 'train', "one of 'validation', 'test'"),
    ('eval__checkpoint', 'last', "one of 'best', 'latest'"),
  )
  def test_values_out_of_range(self, field, value, says):
    config = helpers.config(**{field: value})
    path = field.replace('__', '.')
    with self.assertRaisesRegex(ValueError, f'config.{path}=.* {says}'):
      validate.validate(config)

  @parameterized.parameters(
    ('eval__attacks', ('pgd',), "'pgd' is unknown; known: clean"),
    ('eval__attacks', (), 'is empty; known: clean'),
    ('eval__select_attack', 'aa', "'aa' is unknown"),
    ('method__name', 'pgdat', "'pgdat' is unknown; known: natural"),
  )
  def test_unknown_names(self, field, value, message):
    config = helpers.config(**{field: value})
    with self.assertRaisesRegex(ValueError, message):
      validate.validate(config)

  @parameterized.parameters(
    ({'lambda2': -1.0}, 'lambda2=-1.0 should be at least 0'),
    ({'temperature': 0.0}, 'temperature=0.0 .* above 0'),
    ({'attack_target': 'x'}, "'x' is unknown; known: peer, label"),
    ({'freeze_peer': True}, 'freeze_peer=True needs .*model.peer_from'),
  )
  def test_hyperparameters(self, kwargs, message):
    config = helpers.config()
    config.method.kwargs.update(kwargs)
    with self.assertRaisesRegex(ValueError, message):
      validate.validate(config)

  def test_notes(self):
    self.assertEqual(validate.notes(helpers.config()), [])
    notes = validate.notes(helpers.config(train__epochs=1))
    self.assertLen(notes, 3)
    self.assertIn('optimizer.peer.decay_epochs=(1,)', notes[0])
    self.assertIn('nothing will be averaged', notes[2])

  def test_json_round_trip(self):
    config = helpers.config()
    stored = config_lib.to_json(config)
    self.assertEqual(config_lib.from_json(stored), config)
    self.assertEqual(config_lib.differences(stored, stored), {})

  def test_differences_show_what_trains_differently(self):
    old = config_lib.to_json(helpers.config())
    new = config_lib.to_json(
      helpers.config(attack__steps=3, eval__attacks=('clean',), seed=4)
    )
    self.assertEqual(
      config_lib.differences(old, new), {'attack.steps': (2, 3), 'seed': (0, 4)}
    )
    other = config_lib.to_json(helpers.config('natural'))
    self.assertEqual(
      config_lib.differences(old, other)['model.peer'], ('tiny', 'absent')
    )

  def test_suggestions(self):
    config = helpers.config()
    text = config_lib.suggest('attack.epsilom', config)
    self.assertIn('Did you mean attack.epsilon', text)
    self.assertIn('train.epochs', text)


if __name__ == '__main__':
  absltest.main()
