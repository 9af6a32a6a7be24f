"""Learning-rate schedules by name.

A new one is one entry: a function, registered under a name, whose
keyword-only arguments are its settings (see `settings`).
"""

from collections.abc import Callable, Sequence

import ml_collections
import optax

from peeraid_jax import registry
from peeraid_jax.training import settings as settings_lib

# name -> (learning_rate, *, epochs, steps_per_epoch, settings) -> schedule
SCHEDULES: registry.Registry[Callable[..., optax.Schedule]] = registry.Registry(
  'schedule'
)
register = SCHEDULES.register


def _with_warmup(
  schedule: optax.Schedule, warmup_epochs: float, steps_per_epoch: int
) -> optax.Schedule:
  """Multiplies a schedule by a linear rise from 0."""
  steps = round(warmup_epochs * steps_per_epoch)
  if not steps:
    return schedule
  rise = optax.linear_schedule(0.0, 1.0, steps)
  return lambda step: schedule(step) * rise(step)


def piecewise(
  learning_rate: float,
  *,
  epochs: int,
  steps_per_epoch: int,
  warmup_epochs: float = 0.0,
  decay_epochs: Sequence[int] = (),
  decay_factor: float = 0.1,
) -> optax.Schedule:
  """Returns a piecewise constant rate; it drops when an epoch begins.

  Args:
    learning_rate: the initial rate.
    epochs: length of the run; unused.
    steps_per_epoch: steps in an epoch.
    warmup_epochs: length of a linear rise from 0.
    decay_epochs: epochs, counted from 0, that begin with a lower rate.
    decay_factor: what the rate is multiplied by at each of them.

  Returns:
    step (from 0) -> learning rate.
  """
  del epochs
  drops = {e * steps_per_epoch: decay_factor for e in decay_epochs}
  constant = optax.piecewise_constant_schedule(learning_rate, drops)
  return _with_warmup(constant, warmup_epochs, steps_per_epoch)


def cosine(
  learning_rate: float,
  *,
  epochs: int,
  steps_per_epoch: int,
  warmup_epochs: float = 0.0,
  final: float = 0.0,
) -> optax.Schedule:
  """Returns a rate that rises linearly and then falls along a half cosine.

  Args:
    learning_rate: the highest rate, at the end of the warm-up.
    epochs, steps_per_epoch: length of the run.
    warmup_epochs: length of the rise from 0.
    final: rate at the end, as a share of `learning_rate`.

  Returns:
    step (from 0) -> learning rate.

  Reference:
    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm
    Restarts, 2017, without restarts.

  Raises:
    ValueError: `final` is negative.
  """
  if not final >= 0:
    raise ValueError(f'{final=} should be at least 0')
  warmup = round(warmup_epochs * steps_per_epoch)
  total = epochs * steps_per_epoch
  fall = optax.cosine_decay_schedule(
    learning_rate, max(total - warmup, 1), alpha=final
  )
  if not warmup:
    return fall
  rise = optax.linear_schedule(0.0, learning_rate, warmup)
  return optax.join_schedules([rise, fall], [warmup])


def one_cycle(
  learning_rate: float,
  *,
  epochs: int,
  steps_per_epoch: int,
  warmup_epochs: float = 0.0,
  rise: float = 0.3,
  initial: float = 0.04,
  final: float = 0.0001,
) -> optax.Schedule:
  """Returns one cycle: a cosine rise to the highest rate and a cosine fall.

  Args:
    learning_rate: the highest rate.
    epochs, steps_per_epoch: length of the run.
    warmup_epochs: length of the rise, below `epochs`; 0 takes `rise`.
    rise: length of the rise, as a share of the run, between 0 and 1.
    initial, final: first and last rate, as shares of `learning_rate`, above 0.

  Returns:
    step (from 0) -> learning rate.

  Reference:
    Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks
    Using Large Learning Rates, 2018.

  Raises:
    ValueError: a setting is out of its range.
  """
  for name, share in (('initial', initial), ('final', final)):
    if not share > 0:
      raise ValueError(f'{name}={share} should be above 0')
  if warmup_epochs >= epochs:
    raise ValueError(
      f'{warmup_epochs=} should be below {epochs}, the epochs of the run: the '
      'highest rate would never be reached'
    )
  if not 0 < rise < 1:
    raise ValueError(f'{rise=} should be between 0 and 1')
  total = epochs * steps_per_epoch
  if warmup_epochs:
    rise = warmup_epochs / epochs
  return optax.cosine_onecycle_schedule(
    total,
    learning_rate,
    pct_start=rise,
    div_factor=1 / initial,
    final_div_factor=initial / final,
  )


register('piecewise', piecewise)
register('cosine', cosine)
register('one_cycle', one_cycle)


def create(
  settings: ml_collections.ConfigDict,
  *,
  role: str,
  epochs: int,
  steps_per_epoch: int,
) -> optax.Schedule:
  """Builds the learning-rate schedule of a role.

  Args:
    settings: `config.optimizer.<role>`.
    role: for messages.
    epochs, steps_per_epoch: length of the run.

  Returns:
    step (from 0) -> learning rate.

  Raises:
    ValueError: unknown schedule or setting.
  """
  return settings_lib.call(
    SCHEDULES.get(settings.schedule),
    settings.learning_rate,
    settings.to_dict(),
    settings.schedule_options,
    f'config.optimizer.{role}.schedule_options',
    fixed={'epochs': epochs, 'steps_per_epoch': steps_per_epoch},
  )


def notes(settings: ml_collections.ConfigDict, *, role: str) -> list[str]:
  """Returns remarks on fields that the schedule of a role does not use."""
  unused = settings_lib.unused(
    SCHEDULES.get(settings.schedule),
    settings,
    ('warmup_epochs', 'decay_epochs'),
  )
  return [
    f'optimizer.{role}.{name}={settings[name]} has no effect: the schedule '
    f'{settings.schedule!r} does not use it'
    for name in unused
  ]
