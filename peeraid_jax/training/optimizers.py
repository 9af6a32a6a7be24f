"""Optimizers by name, one per trained role.

A new one is one entry: a function, registered under a name, whose
keyword-only arguments are its settings (see `settings`).
"""

from collections.abc import Callable
from typing import TypeAlias

import ml_collections
import optax

from peeraid_jax import registry
from peeraid_jax.training import settings as settings_lib

Optimizer: TypeAlias = optax.GradientTransformation

# name -> (learning rate: optax.Schedule, *, settings) -> optimizer
OPTIMIZERS: registry.Registry[Callable[..., Optimizer]] = registry.Registry(
  'optimizer'
)
register = OPTIMIZERS.register


def sgd(
  learning_rate: optax.Schedule,
  *,
  momentum: float = 0.9,
  nesterov: bool = False,
  weight_decay: float = 0.0,
) -> Optimizer:
  """Returns PyTorch's SGD: decay into the gradient, momentum, then the rate.

  The decay covers every parameter, biases and batch norm's included. The rate
  is outside of the momentum buffer, so that a lower rate acts at once.

  Args:
    learning_rate: step (from 0) -> rate.
    momentum: of the buffer.
    nesterov: look ahead along the buffer.
    weight_decay: added to the gradient, times the parameters.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.trace(momentum, nesterov=nesterov),
    optax.scale_by_learning_rate(learning_rate),
  )


def adamw(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float = 0.01,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  nesterov: bool = False,
) -> Optimizer:
  """Returns AdamW: Adam with decoupled weight decay on every parameter.

  Args:
    learning_rate: step (from 0) -> rate.
    weight_decay: times rate and parameters.
    b1, b2: decay of the moments, in [0, 1).
    eps: added to the root of the second moment; above 0.
    nesterov: NAdamW.

  Reference:
    Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.

  Raises:
    ValueError: a setting is out of its range.
  """
  for name, decay in (('b1', b1), ('b2', b2)):
    if not 0 <= decay < 1:
      raise ValueError(f'{name}={decay} should be at least 0 and below 1')
  if not eps > 0:
    raise ValueError(f'{eps=} should be above 0')
  return optax.adamw(
    learning_rate,
    b1=b1,
    b2=b2,
    eps=eps,
    weight_decay=weight_decay,
    nesterov=nesterov,
  )


register('sgd', sgd)
register('adamw', adamw)


# Fields that an optimizer may lack, and their defaults. To change one that has
# no effect is an error.
_OPTIONAL = {'momentum': 0.9, 'nesterov': False}


def _check_unused(function, settings, where: str) -> None:
  """Refuses settings that were changed and that an optimizer does not have."""
  for name, default in _OPTIONAL.items():
    if settings[name] != default and name not in settings_lib.names(function):
      raise ValueError(
        f'{where}.{name}={settings[name]!r}: the optimizer '
        f'{settings.name!r} has no such setting'
      )


def create(
  settings: ml_collections.ConfigDict, rate: optax.Schedule, *, role: str
) -> Optimizer:
  """Builds the optimizer of a role.

  Args:
    settings: `config.optimizer.<role>`.
    rate: step (from 0) -> learning rate.
    role: for messages.

  Raises:
    ValueError: unknown optimizer or setting.
  """
  function = OPTIMIZERS.get(settings.name)
  where = f'config.optimizer.{role}'
  _check_unused(function, settings, where)
  return settings_lib.call(
    function, rate, settings.to_dict(), settings.options, f'{where}.options'
  )


def notes(settings: ml_collections.ConfigDict, *, role: str) -> list[str]:
  """Returns remarks on fields that the optimizer of a role does not use."""
  unused = settings_lib.unused(
    OPTIMIZERS.get(settings.name), settings, ('weight_decay',)
  )
  return [
    f'optimizer.{role}.{name}={settings[name]} has no effect: the optimizer '
    f'{settings.name!r} has no such setting'
    for name in unused
  ]
