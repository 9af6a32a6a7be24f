"""Configs: the authors' settings pinned, and bad values refused."""

import importlib
import itertools

from absl.testing import absltest, parameterized

from peeraid_jax import attacks, methods, models
from peeraid_jax import config as config_lib
from peeraid_jax.config import validate
from peeraid_jax.training import build
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

FILES = (
  'digits',
  'cifar10',
  'cifar100',
  'svhn',
  'tinyimagenet',
  'imagenet',
  'folder',
)


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
          'name': 'sgd',
          'learning_rate': 0.1,
          'momentum': 0.9,
          'nesterov': False,
          'weight_decay': 2e-4,
          'options': (),
          'schedule': 'piecewise',
          'warmup_epochs': 0.0,
          'decay_epochs': decays,
          'decay_factor': 0.1,
          'schedule_options': (),
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

  def test_wide_networks_of_other_sizes(self):
    config = _config('cifar10', 'student=wideresnet16x4,peer=dm_wideresnet10x1')
    self.assertEqual(
      config_lib.roles(config),
      {'student': 'wideresnet16x4', 'peer': 'dm_wideresnet10x1'},
    )
    validate.validate(config)
    config.model.peer = 'wideresnet15x4'
    with self.assertRaisesRegex(ValueError, 'wideresnet<depth>x<widen>'):
      validate.validate(config)

  def test_normalization_by_numbers(self):
    config = _config('cifar10', 'method=rslad')
    config.model.normalization = '0.5/0.25'
    config.roles.teacher.normalization = '0.1,0.2,0.3/1,1,1'
    validate.validate(config)
    for section in ('model', 'roles.teacher'):
      with (
        self.subTest(section),
        self.assertRaisesRegex(
          ValueError, f'{section}.normalization=.0.5. should be one of'
        ),
      ):
        broken = config.copy_and_resolve_references()
        config_lib.lookup(broken, section).normalization = '0.5'
        validate.validate(broken)

  def test_wide_peer_follows_the_student(self):
    config = _config('cifar10', 'student=wideresnet34x10')
    self.assertEqual(config.model.peer, 'wideresnet34x10')

  def test_pgd_at_is_that_of_the_repository(self):
    config = _config('cifar10', 'method=pgd_at')
    self.assertEqual(config.attack.start, 'uniform')
    self.assertNotIn('peer', config.model)
    self.assertEqual(list(config.optimizer), ['student'])


# Method -> what its authors ran on CIFAR-10: student, learning rate, weight
# decay, epochs, decays (from 0), epsilon, start of the attack, averaging.
_8 = 8 / 255
RECIPES = {
  'natural': (
    'resnet18', 0.1, 2e-4, 300, (214, 259, 284), _8, 'normal', True,
  ),
  'pgd_at': ('resnet18', 0.1, 2e-4, 300, (214, 259, 284), _8, 'uniform', True),
  'trades': (
    'wideresnet34x10', 0.1, 2e-4, 76, (74,), 0.031, 'normal', False,
  ),
  'mart': ('resnet18', 0.01, 3.5e-3, 120, (74, 89, 99), 0.031, 'normal', False),
  'ard': ('mobilenetv2', 0.1, 2e-4, 200, (100, 150), _8, 'uniform', False),
  'rslad': ('resnet18', 0.1, 2e-4, 300, (215, 260, 285), _8, 'normal', False),
  'akd2': (
    'preactresnet18_rice', 0.1, 5e-4, 200, (50, 150), _8, 'uniform', True,
  ),
  'iad1': ('resnet18', 0.1, 2e-4, 200, (100, 150), _8, 'uniform', False),
  'iad2': ('resnet18', 0.1, 2e-4, 200, (100, 150), _8, 'uniform', False),
  'adaad': ('resnet18', 0.1, 5e-4, 200, (100, 150), _8, 'normal', False),
  'adaiad': ('resnet18', 0.1, 5e-4, 200, (100, 150), _8, 'normal', False),
  'ltd': ('wideresnet34x10', 0.1, 5e-4, 200, (99, 149), _8, 'normal', False),
  'agkd_bml': (
    'wideresnet28x10', 0.1, 2e-4, 200, (100, 150), _8, 'uniform', False,
  ),
}  # fmt: skip


class RecipeTest(parameterized.TestCase):
  @parameterized.parameters(*RECIPES)
  def test_settings(self, method):
    config = _config('cifar10', f'method={method}')
    optimizer = config.optimizer.student
    self.assertEqual(
      (
        config.model.student,
        optimizer.learning_rate,
        optimizer.weight_decay,
        config.train.epochs,
        optimizer.decay_epochs,
        config.attack.epsilon,
        config.attack.start,
        config.swa.enabled,
      ),
      RECIPES[method],
    )
    self.assertEqual(config.attack.steps, 10)
    self.assertEqual(config.train.batch_size, 128)
    self.assertEqual(config.awp.enabled, method == 'ltd')

  def test_every_method_has_a_row(self):
    self.assertEqual({*RECIPES, 'peeraid'}, set(methods.METHODS))

  def test_wide_mart(self):
    config = _config('cifar10', 'method=mart,student=wideresnet34x10')
    optimizer = config.optimizer.student
    self.assertEqual(config.method.kwargs.beta, 6)
    self.assertEqual(optimizer.learning_rate, 0.1)
    self.assertEqual(optimizer.weight_decay, 7e-4)
    self.assertEqual(optimizer.decay_epochs, (74, 89))
    self.assertEqual(config.train.epochs, 90)

  def test_ltd_is_trades_awp_with_a_natural_teacher_of_its_kind(self):
    config = _config('cifar10', 'method=ltd')
    self.assertEqual(
      config.awp.to_dict(),
      {
        'enabled': True,
        'gamma': 0.005,
        'start_epoch': 9,
        'roles': ('student',),
      },
    )
    self.assertEqual(config.method.kwargs.temperature, 5)
    self.assertEqual(config_lib.temperature(config, 'student'), 1)
    self.assertEqual(config.model.teacher, 'wideresnet34x10')
    self.assertEqual(
      config.teacher.train_config, ':method=natural,student=wideresnet34x10'
    )

  def test_awp_of_its_paper(self):
    found = {
      method: _config('cifar10', f'method={method}').awp.to_dict()
      for method in ('pgd_at', 'trades')
    }
    self.assertEqual(found['pgd_at']['gamma'], 0.01)
    self.assertEqual(found['pgd_at']['start_epoch'], 0)
    self.assertEqual(found['trades']['gamma'], 0.005)
    self.assertEqual(found['trades']['start_epoch'], 9)

  def test_agkd_bml_starts_from_its_teacher_on_images_of_minus_1_to_1(self):
    for name in ('cifar10', 'svhn'):
      config = _config(name, 'method=agkd_bml')
      self.assertTrue(config.teacher.initialise_student)
      self.assertEqual(config.model.teacher, 'wideresnet28x10')
      self.assertEqual(config.model.normalization, 'half')
      self.assertEqual(config.eval.select_attack, 'clean')
      self.assertEqual(config.teacher.checkpoint, 'latest')
      self.assertIn('train.epochs=200', config.teacher.train_overrides)

  def test_robust_teachers_of_rslad(self):
    config = _config('cifar10', 'method=rslad')
    self.assertEqual(config.model.teacher, 'wideresnet34x10')
    self.assertIn('method=trades', config.teacher.train_config)
    config = _config('cifar10', 'method=rslad,teacher=resnet18')
    self.assertEqual(config.model.teacher, 'resnet18')

  def test_cifar100(self):
    self.assertEqual(_config('cifar100', 'method=ard').train.batch_size, 256)
    akd2 = _config('cifar100', 'method=akd2')
    self.assertEqual(akd2.model.normalization, 'cifar100')
    self.assertEqual(akd2.data.rotation, 15)
    self.assertEqual(_config('cifar10', 'method=akd2').data.rotation, 0)

  def test_two_teachers(self):
    for method in ('akd2', 'iad2'):
      config = _config('cifar10', f'method={method}')
      self.assertIn('method=pgd_at', config.teacher.train_config)
      self.assertIn('method=natural', config.natural_teacher.train_config)


class ConfigTest(parameterized.TestCase):
  @parameterized.parameters(*itertools.product(FILES, methods.METHODS))
  def test_every_file_takes_every_method(self, name, method):
    config = _config(name, f'method={method}')
    if name == 'folder':
      config.data.num_classes = 3  # As counted in the folder.
    validate.validate(config)
    self.assertEqual(config.data.name, name)
    built = build.plan(config).method
    self.assertEqual(set(built.trained), set(config.optimizer))
    roles = {*built.trained, *built.fixed}
    self.assertEqual(roles, set(config_lib.roles(config)))

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
    ('model__width', 0, 'from 1 to 1024'),
    ('model__peer', 'resnet19', 'one of resnet18'),
    ('attack__epsilon', 8.0, 'from 0 to 1'),
    ('attack__epsilon', float('nan'), 'from 0 to 1'),
    ('attack__steps', 0, 'at least 1'),
    ('attack__norm', 'L1', "one of 'Linf', 'L2'"),
    ('attack__start', 'zero', "one of 'normal'"),
    ('train__epochs', 0, 'at least 1'),
    ('train__batch_size', 0, 'from 1 to'),
    ('optimizer__peer__momentum', 1.5, 'from 0 to 1'),
    ('optimizer__student__decay_epochs', (20, 10), 'rising whole epochs'),
    ('model__normalization', 'svhn', "one of 'none', 'half'"),
    ('awp__gamma', -0.1, 'at least 0'),
    ('awp__roles', ('teacher',), "one or more of 'student', 'peer'"),
    ('eval__select_on', 'train', "one of 'validation', 'test'"),
    ('data__image_size', 32, '0: the images of digits have one size'),
    ('data__crop', 'centre', "one of 'pad', 'resized'"),
    ('data__crop_area', (0.5, 0.1), 'two rising numbers'),
    ('data__centre_fraction', 0.0, 'a number above 0'),
    ('data__threads', -1, 'from 0 to 1024'),
    ('eval__checkpoint', 'last', "one of 'best', 'latest'"),
  )
  def test_values_out_of_range(self, field, value, says):
    config = helpers.config(**{field: value})
    path = field.replace('__', '.')
    with self.assertRaisesRegex(ValueError, f'config.{path}=.* {says}'):
      validate.validate(config)

  @parameterized.parameters(
    ('eval__attacks', ('pgd',), "'pgd',.* should be one or more of clean"),
    ('eval__attacks', (), 'should be one or more of clean'),
    ('eval__roles', ('teacher',), "one or more of 'student', 'student_swa'"),
    ('eval__select_attack', 'aa', "'aa' should be one of clean"),
    ('method__name', 'pgdat', "'pgdat' is unknown; known: natural"),
  )
  def test_unknown_names(self, field, value, message):
    config = helpers.config(**{field: value})
    with self.assertRaisesRegex(ValueError, message):
      validate.validate(config)

  def test_roles_that_the_run_does_not_have(self):
    config = helpers.config('pgd_at', eval__roles=('peer',))
    with self.assertRaisesRegex(ValueError, "'peer',. names no network of thi"):
      validate.validate(config)

  def test_the_name_of_an_attack_is_enough(self):
    """Its factory is not called: it may refuse a radius of 0."""

    def factory(*, epsilon, **settings):
      raise ValueError(f'{epsilon=} should be above 0')

    attacks.register('strict', factory)
    self.addCleanup(attacks.ATTACKS._entries.pop, 'strict')
    validate.validate(helpers.config(eval__attacks=('strict', 'pgd3')))
    validate.validate(helpers.config(eval__select_attack='strict'))

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

  @parameterized.parameters(
    ('ltd', 'temperature', 0.0, 'temperature=0.0 should be above 0'),
    ('ltd', 'hard_weight', 1.5, r'hard_weight=1.5 should be in \[0, 1\]'),
    ('ltd', 'base_loss', 'mart', "'mart' is unknown; known: trades, at"),
    ('ard', 'alpha', -0.5, r'alpha=-0.5 should be in \[0, 1\]'),
    ('rslad', 'reduction', 'sum', "'sum' is unknown; known: batchmean, mean"),
    ('mart', 'beta', float('nan'), 'beta=nan should be at least 0'),
    ('agkd_bml', 'statistics', 'x', "'x' is unknown; known: joint, separate"),
  )
  def test_hyperparameters_of_others(self, method, name, value, message):
    config = helpers.config(method)
    config.method.kwargs[name] = value
    with self.assertRaisesRegex(ValueError, message):
      validate.validate(config)

  @parameterized.parameters(
    ('ltd', 'roles__student__temperature', 0.0, 'above 0'),
    ('ltd', 'teacher__role', 'x', "one of 'student', 'student_swa', 'peer'"),
    ('akd2', 'natural_teacher__checkpoint', 'x', "one of 'best', 'latest'"),
  )
  def test_teacher_fields(self, method, field, value, says):
    config = helpers.config(method, **{field: value})
    with self.assertRaisesRegex(ValueError, says):
      validate.validate(config)

  def test_attention_needs_a_map(self):
    config = _config('digits', 'method=agkd_bml,student=resnet18')
    with self.assertRaisesRegex(ValueError, '1x1 on digits: .* no attention'):
      validate.validate(config)
    config.method.kwargs.agkd = False
    validate.validate(config)
    config = helpers.config('agkd_bml', model__teacher='wideresnet28x10')
    with self.assertRaisesRegex(ValueError, 'needs a student like the teacher'):
      validate.validate(config)
    config.teacher.initialise_student = False
    with self.assertRaisesRegex(ValueError, '2x2, the student in one of 4x4'):
      validate.validate(config)

  def test_notes(self):
    self.assertEqual(validate.notes(helpers.config()), [])
    notes = validate.notes(helpers.config(train__epochs=1))
    self.assertLen(notes, 3)
    self.assertIn('optimizer.peer.decay_epochs=(1,)', notes[0])
    self.assertIn('nothing will be averaged', notes[2])
    config = helpers.config(optimizer__peer__warmup_epochs=3.0)
    (note,) = validate.notes(config)
    self.assertRegex(note, 'warmup_epochs=3.0: .* not reach its learning rate')
    config = helpers.config('ltd', awp__start_epoch=9)
    self.assertIn('no weight will be perturbed', validate.notes(config)[0])

  def test_json_round_trip(self):
    config = helpers.config()
    stored = config_lib.to_json(config)
    self.assertEqual(config_lib.from_json(stored), config)
    self.assertEqual(config_lib.differences(stored, stored), {})

  def test_configs_of_earlier_versions_get_the_defaults(self):
    config = helpers.config('ltd', attack__steps=5)
    config.awp.start_epoch = 9
    stored = config_lib.to_json(config)
    del stored['awp'], stored['model']['normalization']
    del stored['method']['kwargs']['beta']
    self.assertEqual(config_lib.from_json(stored), config)

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
