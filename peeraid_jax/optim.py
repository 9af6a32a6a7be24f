"""Optimizers and learning-rate schedules, one per role."""

import optax


def schedule(
  *,
  learning_rate: float,
  warmup_epochs: float,
  decay_epochs: tuple[int, ...],
  decay_factor: float,
  steps_per_epoch: int,
) -> optax.Schedule:
  """Piecewise constant rate: it drops with the first step of an epoch.

  Args:
    learning_rate: the initial rate.
    warmup_epochs: length of a linear rise from 0; 0 for none.
    decay_epochs: epochs, counted from 0, that begin with a lower rate.
    decay_factor: what the rate is multiplied with at each.
    steps_per_epoch: steps in an epoch.

  Returns:
    step (from 0) -> learning rate.
  """
  drops = {e * steps_per_epoch: decay_factor for e in decay_epochs}
  constant = optax.piecewise_constant_schedule(learning_rate, drops)
  warmup = round(warmup_epochs * steps_per_epoch)
  if not warmup:
    return constant
  rise = optax.linear_schedule(0.0, 1.0, warmup)
  return lambda step: constant(step) * rise(step)


def sgd(
  rate: optax.Schedule, *, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
  """PyTorch's SGD: decay into the gradient, momentum, then the rate.

  The decay covers every parameter, biases and batch norm's included. The rate
  is outside of the momentum buffer, so that a drop acts at once.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.trace(momentum),
    optax.scale_by_learning_rate(rate),
  )
