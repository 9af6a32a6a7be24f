"""The contract of a method: two pure functions over named networks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches

Nets = Mapping[str, nets_lib.Net]
Metrics = Mapping[str, chex.Array]
# (objective, images, key) -> adversarial images, ready-made from the config
Maximise = Callable[..., chex.Array]


class Method(NamedTuple):
  """An algorithm, built by a factory that closes over its hyperparameters.

  Attributes:
    trained: roles that get a gradient and an optimizer.
    fixed: roles that do not.
    craft: (nets, batch, keys) -> adversarial images, or a dict that holds
      them as 'images'; the inner maximisation. Its result gets no gradient.
    loss: (nets, batch, adv, keys) -> (scalar, (nets, metrics)): one joint
      scalar whose gradient trains all roles, the nets with their new running
      statistics, and scalars to report.

  `keys` holds one key per example, [B].
  """

  trained: tuple[str, ...]
  fixed: tuple[str, ...]
  craft: Callable[[Nets, batches.Batch, chex.PRNGKey], Any]
  loss: Callable[..., tuple[chex.Array, tuple[Nets, Metrics]]]


def check_weights(**weights: float) -> None:
  """Checks hyperparameters that multiply a term of a loss.

  Raises:
    ValueError: one is negative.
  """
  for name, value in weights.items():
    if not value >= 0:
      raise ValueError(f'method.kwargs.{name}={value} should be at least 0')


def check_temperatures(**temperatures: float) -> None:
  """Checks hyperparameters that divide logits.

  Raises:
    ValueError: one is not positive.
  """
  for name, value in temperatures.items():
    if not value > 0:
      raise ValueError(f'method.kwargs.{name}={value} should be above 0')


def check_choice(name: str, value: str, known) -> None:
  """Checks a hyperparameter that is one of a few words.

  Raises:
    ValueError: it is none of them; the known ones are listed.
  """
  if value not in known:
    raise ValueError(
      f'method.kwargs.{name}={value!r} is unknown; known: {", ".join(known)}'
    )


def accuracy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Share of correct predictions in a batch, a scalar."""
  return jnp.mean(jnp.argmax(logits, axis=-1) == labels)
