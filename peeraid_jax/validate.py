"""What each field of a config may be; checked before anything is compiled."""

import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import attacks, methods, models
from peeraid_jax import config as config_lib
from peeraid_jax.data import facts


def _whole(low: int, high: float = math.inf):
  says = f'a whole number of at least {low}'
  if high != math.inf:
    says = f'a whole number from {low} to {high}'
  return lambda v: isinstance(v, int) and low <= v <= high, says


def _number(low: float, high: float = math.inf):
  says = f'a number of at least {low}'
  if high != math.inf:
    says = f'a number from {low} to {high}'
  return lambda v: not isinstance(v, bool) and low <= v <= high, says


def _positive():
  return lambda v: not isinstance(v, bool) and v > 0, 'a number above 0'


def _exactly_0(name: str):
  return lambda v: v == 0, f'0: the images of {name} have one size'


def _one_of(*known: str):
  return lambda v: v in known, 'one of ' + ', '.join(map(repr, known))


def _made_by(make: Callable, *also):
  """A rule: `make` does not raise ValueError; it says what would be right."""

  def test(value):
    try:
      value in also or make(value)
    except ValueError:
      return False
    return True

  return test


def _model():
  says = f'one of {", ".join(map(repr, models.MODELS))}'
  return _made_by(models.get), f'{says}, or another WideResNet'


def _normalization(*also):
  known = ', '.join(map(repr, (*also, *models.NORMALIZATIONS)))
  says = f"one of {known}, or numbers as 'mean,mean,mean/std,std,std'"
  return _made_by(models.normalization_of, *also), says


_OPTIMIZER_RULES = {
  'learning_rate': _number(0),
  'momentum': _number(0, 1),
  'weight_decay': _number(0),
  'warmup_epochs': _number(0),
  'decay_factor': _number(0, 1),
  'decay_epochs': (
    lambda v: (
      all(isinstance(e, int) and e >= 0 for e in v) and sorted(set(v)) == [*v]
    ),
    'rising whole epochs, such as (100, 150)',
  ),
}


def _rules(config) -> Iterator[tuple[str, tuple[Callable, str]]]:
  """Yields (field, (test, what would be right))."""
  yield 'seed', _whole(0, 2**31 - 1)
  yield 'dtype', _one_of(*models.DTYPES)
  yield 'data.name', _one_of(*facts.DATASETS)
  yield 'data.train_examples', _whole(0)
  yield 'data.validation_examples', _whole(1)
  yield 'data.padding', _whole(0)
  yield 'data.threads', _whole(0)
  yield 'data.crop', _one_of('pad', 'resized')
  yield (
    'data.crop_area',
    (
      lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1,
      'two rising numbers above 0 and up to 1, such as (0.08, 1.0)',
    ),
  )
  yield (
    'data.centre_fraction',
    (
      lambda v: 0 < v <= 1,
      'a number above 0 and up to 1',
    ),
  )
  yield 'data.num_classes', _whole(0)
  any_size = (
    config.data.name in facts.DATASETS
    and not (facts.get(config.data.name).shape[0])
  )
  yield (
    'data.image_size',
    _whole(8) if any_size else _exactly_0(config.data.name),
  )
  yield 'model.width', _whole(1)
  yield 'model.normalization', _normalization()
  if 'student_temperature' in config.model:
    yield 'model.student_temperature', _positive()
  for role in config_lib.roles(config):
    yield f'model.{role}', _model()
  yield 'attack.norm', _one_of(*attacks.NORMS)
  yield 'attack.start', _one_of(*attacks.STARTS)
  if config.attack.norm == 'Linf':
    yield 'attack.epsilon', _number(0, 1)
    yield 'attack.step_size', _number(0, 1)
  else:
    yield 'attack.epsilon', _number(0)
    yield 'attack.step_size', _number(0)
  yield 'attack.steps', _whole(1)
  yield 'attack.start_scale', _number(0)
  yield 'train.epochs', _whole(1)
  yield 'train.batch_size', _whole(1)
  yield 'train.log_every_steps', _whole(1)
  yield 'train.checkpoint_every_steps', _whole(0)
  yield 'train.microbatches', _whole(1)
  for role in config.optimizer:
    for field, rule in _OPTIMIZER_RULES.items():
      yield f'optimizer.{role}.{field}', rule
  yield 'awp.gamma', _number(0)
  yield 'awp.start_epoch', _whole(0)
  for role in config_lib.TEACHER_ROLES:
    if role in config.model:
      yield f'model.{role}_width', _whole(0)
      yield f'model.{role}_normalization', _normalization('')
      yield f'{role}.role', _one_of('student', 'student_swa', 'peer')
      yield f'{role}.checkpoint', _one_of('best', 'latest')
  yield 'swa.start_epoch', _whole(0)
  yield 'distributed.mode', _one_of('auto', 'on', 'off')
  yield 'distributed.processes', _whole(0)
  yield 'distributed.process', _whole(-1)
  yield 'distributed.timeout_seconds', _whole(1)
  yield 'eval.examples', _whole(0)
  yield 'eval.every_epochs', _whole(1)
  yield 'eval.restarts', _whole(1)
  yield 'eval.batch_size', _whole(1)
  yield 'eval.autoattack', _one_of('standard', 'plus')
  yield 'eval.select_on', _one_of('validation', 'test')
  yield 'eval.checkpoint', _one_of('best', 'latest')


def validate(config: ml_collections.ConfigDict) -> None:
  """Checks every field before anything expensive starts.

  Raises:
    ValueError: names the field, its value and what would be right.
  """
  for field, (test, says) in _rules(config):
    value = config
    for name in field.split('.'):
      value = value[name]
    try:
      fine = test(value)
    except TypeError:
      fine = False
    if not fine:
      raise ValueError(f'config.{field}={value!r} should be {says}')
  for name in (*config.eval.attacks, config.eval.select_attack):
    chosen_by = name == config.eval.select_attack
    if name in (*attacks.CASCADE, *attacks.OTHER) and not chosen_by:
      continue
    attacks.named(name, epsilon=0, step_size=0, norm=config.attack.norm)
  _check_data(config)
  if not config.eval.attacks:
    raise ValueError(
      f'config.eval.attacks is empty; known: {attacks.KNOWN}, '
      f'{", ".join((*attacks.CASCADE, *attacks.OTHER))}'
    )
  roles = config.eval.roles
  if not roles or not set(roles) <= set(config_lib.ROLES):
    raise ValueError(
      f'config.eval.roles={roles} should be one or more of '
      f'{", ".join(map(repr, config_lib.ROLES))}'
    )
  # A method checks its own hyperparameters when it is built.
  method = methods.create(
    config.method.name, lambda *a: None, **config.method.kwargs.to_dict()
  )
  if method.draws_by_class and config.data.stream:
    raise ValueError(
      f'config.data.stream=True and {config.method.name} do not go together: '
      'it draws training images by class inside the step, from the device. '
      "Set config.data.stream=False and config.data.crop='pad', or "
      'config.method.kwargs.bml=False'
    )
  trained = method.trained
  perturbed = config.awp.roles
  if not perturbed or not set(perturbed) <= set(trained):
    raise ValueError(
      f'config.awp.roles={perturbed} should be one or more of '
      f'{", ".join(map(repr, trained))}, the networks that are trained'
    )
  for role in config_lib.TEACHER_ROLES:
    if role in config.model and config[role].torch and config[role].workdir:
      raise ValueError(
        f'config.{role}.torch={config[role].torch!r} and config.{role}.workdir='
        f'{config[role].workdir!r} do not go together: one network teaches'
      )
  kwargs = config.method.kwargs
  if config.train.microbatches > 1 and kwargs.get('train_mode_attack', False):
    raise ValueError(
      f'config.train.microbatches={config.train.microbatches} and '
      'config.method.kwargs.train_mode_attack=True do not go together: the '
      'attack moves running statistics, from one microbatch to the next'
    )
  if kwargs.get('freeze_peer', False) and not config.model.peer_from:
    raise ValueError(
      'config.method.kwargs.freeze_peer=True needs a trained peer: name its '
      'work directory with --config.model.peer_from=DIR'
    )
  if 'teacher' in config.model and config.teacher.initialise_student:
    student, teacher = (
      f'{config.model[r]} of width {config_lib.width(config, r)}, '
      f'normalization {config_lib.normalization(config, r)}'
      for r in ('student', 'teacher')
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
  if kwargs.get('agkd', False):
    _check_attention(config)


def _check_data(config) -> None:
  """Which data sets can be streamed, and which have to be."""
  data = config.data
  if data.name == 'digits' and data.stream:
    raise ValueError('config.data.stream=True: digits are not on disk')
  if data.name == 'imagenet' and not data.stream:
    raise ValueError(
      'config.data.stream=False: imagenet fits on no device; stream it'
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


def _check_attention(config) -> None:
  """Attention needs a feature map of more than one pixel, and like maps."""
  known = facts.of(config.data)

  def features(role):
    module = models.create(
      config_lib.roles(config)[role],
      num_classes=known.num_classes,
      width=config_lib.width(config, role),
    )
    images = jnp.zeros((1, *known.shape))
    made = jax.eval_shape(
      lambda: module.init_with_output(jax.random.key(0), images)[0]
    )
    return made.features.shape[1:3]

  ours, theirs = features('student'), features('teacher')
  if ours == (1, 1):
    raise ValueError(
      f'config.model.student={config.model.student!r} ends in a feature map '
      f'of 1x1 on {config.data.name}: there is no attention to distil. Choose '
      'another one (student=wideresnet28x10 ends in 2x2 on 8x8 images), or '
      'config.method.kwargs.agkd=False'
    )
  if ours != theirs:
    raise ValueError(
      f'config.model.teacher={config.model.teacher!r} ends in a feature map '
      f'of {theirs[0]}x{theirs[1]}, the student in one of '
      f'{ours[0]}x{ours[1]}: attention maps should be alike'
    )


def notes(config: ml_collections.ConfigDict) -> list[str]:
  """Returns what is valid and probably not meant."""
  found = []
  epochs = config.train.epochs
  for role, settings in config.optimizer.items():
    late = [e for e in settings.decay_epochs if e >= epochs]
    if late:
      found.append(
        f'optimizer.{role}.decay_epochs={settings.decay_epochs}: the run '
        f'ends after {epochs} epochs and does not reach {late}'
      )
  begin = config.method.kwargs.get('begin_epoch', 0)
  if begin >= epochs:
    found.append(
      f'method.kwargs.begin_epoch={begin}: the run ends after {epochs} '
      'epochs, the student will not trust itself'
    )
  if config.awp.enabled and config.awp.start_epoch >= epochs:
    found.append(
      f'awp.start_epoch={config.awp.start_epoch}: the run ends after '
      f'{epochs} epochs, no weight will be perturbed'
    )
  if config.swa.enabled and config.swa.start_epoch >= epochs:
    found.append(
      f'swa.start_epoch={config.swa.start_epoch}: the run ends after '
      f'{epochs} epochs, nothing will be averaged'
    )
  return found
