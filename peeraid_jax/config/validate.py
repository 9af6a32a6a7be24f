"""Checks of a config before anything expensive starts."""

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import methods, models
from peeraid_jax.config import dataset, rules


def validate(config: ml_collections.ConfigDict) -> None:
  """Checks every field, and which of them go together.

  Raises:
    ValueError: names the field, its value and what would be right.
  """
  _check_names(config)
  _check_fields(config)
  _check_eval_step(config)
  # A method checks its own hyperparameters when it is built.
  method = methods.create(
    config.method.name, lambda *a: None, **config.method.kwargs.to_dict()
  )
  _check_data(config)
  _check_roles(config, method)
  _check_method(config, method)
  _check_teachers(config)
  if method.needs_features:
    _check_features(config)


def _check_names(config: ml_collections.ConfigDict) -> None:
  """Checks that a config has the fields of its method, and no others.

  A config file may add and delete fields: a typing error adds one.
  """
  given = config_lib.flatten(config)
  if 'method.name' not in given:
    raise ValueError(
      'config.method.name is missing; a config file should begin with '
      'config.base(method=...)'
    )
  name = config.method.name
  hyperparameters = methods.defaults(name)
  known = {field.name for field in config_lib.fields_of(name)}
  known.remove('method.kwargs')
  known |= {f'method.kwargs.{kwarg}' for kwarg in hyperparameters}
  missing = sorted(known - set(given))
  if missing:
    raise ValueError(
      f'config.{missing[0]} is missing; a config file should begin with '
      'config.base(...), and keep its fields'
    )
  for field in given:
    # The method names unknown hyperparameters itself.
    if field not in known and not field.startswith('method.kwargs'):
      raise ValueError(config_lib.suggest(field, config_lib.base(method=name)))


def _check_fields(config: ml_collections.ConfigDict) -> None:
  """Applies the rule of each field."""
  for field in config_lib.fields_of(config.method.name):
    rule = field.rule
    if not isinstance(rule, rules.Rule):
      rule = rule(config)
    value = config_lib.lookup(config, field.name)
    try:
      valid = rule.accepts(value)
    except (TypeError, AttributeError, OverflowError):
      valid = False
    if not valid:
      raise ValueError(
        f'config.{field.name}={value!r} should be {rule.expected}'
      )
  for name, value in config_lib.flatten(config).items():
    # The compiled step counts with 32 bits.
    if isinstance(value, int) and value >= 2**31:
      raise ValueError(f'config.{name}={value} should be below 2^31')


def _check_eval_step(config: ml_collections.ConfigDict) -> None:
  """Refuses a step so short that PGD-20 cannot cross the ball."""
  step, epsilon = config.eval.step_size, config.attack.epsilon
  if step and 20 * step < epsilon:
    raise ValueError(
      f'config.eval.step_size={step} is too short for config.attack.epsilon='
      f'{epsilon}: 20 steps do not reach the radius, and robust accuracies '
      'would be too high. Set --config.eval.step_size=0 for attack.step_size'
    )


def _check_data(config: ml_collections.ConfigDict) -> None:
  """Checks which data sets can be streamed, and which have to be."""
  data = config.data
  source = dataset.facts_of(data)
  if data.stream and not source.can_stream:
    raise ValueError(f'config.data.stream=True: {data.name} is not on disk')
  if source.must_stream and not data.stream:
    raise ValueError(
      f'config.data.stream=False: {data.name} fits on no device; stream it'
    )
  if data.crop == 'resized' and not data.stream:
    raise ValueError(
      "config.data.crop='resized' needs config.data.stream=True: images on the "
      'device have one size already'
    )
  if data.crop == 'resized' and data.padding:
    raise ValueError(
      f"config.data.crop='resized' and config.data.padding={data.padding} do "
      'not go together; set the padding to 0'
    )


def _check_roles(config, method: methods.Method) -> None:
  """Checks fields that name networks of the run."""
  perturbed = config.awp.roles
  if not perturbed or any(role not in method.trained for role in perturbed):
    raise ValueError(
      f'config.awp.roles={perturbed} should be one or more of '
      f'{", ".join(map(repr, method.trained))}, the networks that are trained'
    )
  own = set(config_lib.trained_roles(config))
  if config.swa.enabled:
    own.add('student_swa')
  if not own & set(config.eval.roles):
    raise ValueError(
      f'config.eval.roles={config.eval.roles} names no network of this run, '
      f'which has {", ".join(map(repr, sorted(own)))}'
    )
  missing = {*method.trained, *method.fixed} - set(config.roles)
  if missing:
    raise ValueError(
      f'method {config.method.name!r} uses the networks {sorted(missing)}, '
      'which its facts do not name as partners or teachers'
    )
  for role in config_lib.trained_roles(config):
    if role in method.fixed and not config.model[f'{role}_from']:
      raise ValueError(
        f'config.method.kwargs.freeze_{role}=True needs a trained {role}: '
        f'name its work directory with --config.model.{role}_from=DIR'
      )


def _check_method(config, method: methods.Method) -> None:
  """Checks data and microbatches that a method cannot work with."""
  if method.draws_by_class and config.data.stream:
    raise ValueError(
      f'config.data.stream=True and {config.method.name} do not go together: '
      'it draws training images by class inside the step, from the device. '
      "Set config.data.stream=False and config.data.crop='pad', or "
      'config.method.kwargs.bml=False'
    )
  if config.train.microbatches > 1 and not method.per_example:
    raise ValueError(
      f'config.train.microbatches={config.train.microbatches} and an attack '
      'in train mode (config.method.kwargs.train_mode_attack=True) do not go '
      'together: the attack changes running statistics, from one microbatch '
      'to the next'
    )


def _check_teachers(config: ml_collections.ConfigDict) -> None:
  """Checks the sources of teachers, and students that start as copies."""
  for role in config_lib.teacher_roles(config):
    if config[role].torch and config[role].workdir:
      raise ValueError(
        f'config.{role}.torch={config[role].torch!r} and config.{role}.workdir='
        f'{config[role].workdir!r} do not go together; set only one of them'
      )
  if 'teacher' not in config.roles or not config.teacher.initialise_student:
    return
  student, teacher = (
    f'{network.architecture} of width {network.width}, normalization '
    f'{network.normalization}'
    for network in (
      config_lib.network(config, role) for role in ('student', 'teacher')
    )
  )
  if student != teacher:
    raise ValueError(
      'config.teacher.initialise_student=True needs a student like the '
      f'teacher; they are {student}, and {teacher}'
    )
  if config.model.torch:
    raise ValueError(
      f'config.model.torch={config.model.torch!r} and config.teacher.'
      'initialise_student=True do not go together: the student starts from '
      'one network; set the latter to False'
    )


def _feature_size(config, role: str) -> tuple[int, int]:
  """Returns height and width of a network's last feature map."""
  known = dataset.facts_of(config.data)
  network = config_lib.network(config, role)
  module = models.create(
    network.architecture, num_classes=known.num_classes, width=network.width
  )

  def features():
    images = jnp.zeros((1, *known.shape))
    output, _ = module.init_with_output(jax.random.key(0), images)
    return output.features

  # Nothing is computed, so that devices can still be set up after this.
  return jax.eval_shape(features).shape[1:3]


def _check_features(config: ml_collections.ConfigDict) -> None:
  """Checks that attention maps have more than one pixel, and one size."""
  student, teacher = (
    _feature_size(config, role) for role in ('student', 'teacher')
  )
  if student == (1, 1):
    raise ValueError(
      f'config.model.student={config.model.student!r} ends in a feature map '
      f'of 1x1 on {config.data.name}: there is no attention to distil. Choose '
      'another one (student=wideresnet28x10 ends in 2x2 on 8x8 images), or '
      'config.method.kwargs.agkd=False'
    )
  if student != teacher:
    raise ValueError(
      f'config.model.teacher={config.model.teacher!r} ends in a feature map '
      f'of {teacher[0]}x{teacher[1]}, the student in one of '
      f'{student[0]}x{student[1]}: attention maps should be alike'
    )


def notes(config: ml_collections.ConfigDict) -> list[str]:
  """Returns remarks on what is valid but probably not intended."""
  remarks = []
  epochs = config.train.epochs
  for role, settings in config.optimizer.items():
    if settings.warmup_epochs >= epochs:
      remarks.append(
        f'optimizer.{role}.warmup_epochs={settings.warmup_epochs}: the run '
        f'ends after {epochs} epochs and does not reach its learning rate'
      )
    late = [e for e in settings.decay_epochs if e >= epochs]
    if late and settings.schedule == 'piecewise':
      remarks.append(
        f'optimizer.{role}.decay_epochs={settings.decay_epochs}: the run '
        f'ends after {epochs} epochs and does not reach {late}'
      )
  for name in methods.facts(config.method.name).epoch_hyperparameters:
    begin = config.method.kwargs[name]
    if begin >= epochs:
      remarks.append(
        f'method.kwargs.{name}={begin}: the run ends after {epochs} epochs, '
        'and does not reach it'
      )
  for section, effect in (
    ('awp', 'no weight will be perturbed'),
    ('swa', 'nothing will be averaged'),
  ):
    start = config[section].start_epoch
    if config[section].enabled and start >= epochs:
      remarks.append(
        f'{section}.start_epoch={start}: the run ends after {epochs} epochs, '
        f'{effect}'
      )
  return remarks
