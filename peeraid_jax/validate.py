"""What each field of a config may be; checked before anything is compiled."""

import math
from collections.abc import Callable, Iterator

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


def _one_of(*known: str):
  return lambda v: v in known, 'one of ' + ', '.join(map(repr, known))


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
  model = _one_of(*models.MODELS)
  yield 'seed', _whole(0, 2**31 - 1)
  yield 'dtype', _one_of(*models.DTYPES)
  yield 'data.name', _one_of(*facts.DATASETS)
  yield 'data.train_examples', _whole(0)
  yield 'data.validation_examples', _whole(1)
  yield 'data.padding', _whole(0)
  yield 'model.width', _whole(1)
  for role in config_lib.roles(config):
    yield f'model.{role}', model
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
  for role in config.optimizer:
    for field, rule in _OPTIMIZER_RULES.items():
      yield f'optimizer.{role}.{field}', rule
  yield 'swa.start_epoch', _whole(0)
  yield 'eval.examples', _whole(0)
  yield 'eval.every_epochs', _whole(1)
  yield 'eval.restarts', _whole(1)
  yield 'eval.batch_size', _whole(1)
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
    attacks.named(name, epsilon=0, step_size=0, norm=config.attack.norm)
  if not config.eval.attacks:
    raise ValueError(f'config.eval.attacks is empty; known: {attacks.KNOWN}')
  # A method checks its own hyperparameters when it is built.
  methods.create(
    config.method.name, lambda *a: None, **config.method.kwargs.to_dict()
  )
  kwargs = config.method.kwargs
  if kwargs.get('freeze_peer', False) and not config.model.peer_from:
    raise ValueError(
      'config.method.kwargs.freeze_peer=True needs a trained peer: name its '
      'work directory with --config.model.peer_from=DIR'
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
  if config.swa.enabled and config.swa.start_epoch >= epochs:
    found.append(
      f'swa.start_epoch={config.swa.start_epoch}: the run ends after '
      f'{epochs} epochs, nothing will be averaged'
    )
  return found
