"""What a config says about each network of a run, with defaults resolved."""

from collections.abc import Iterable
from typing import NamedTuple

import ml_collections

# Roles of the fixed networks of this package's methods.
TEACHER_ROLES = ('teacher', 'natural_teacher')
# A config sorts its sections by name. This is the order in which networks are
# built and shown; it decides which key initialises which network.
_ORDER = ('student', 'peer', *TEACHER_ROLES)


class Network(NamedTuple):
  """One network of a run.

  Attributes:
    architecture: a name in `models.MODELS`.
    width: base channels.
    normalization: of the images, as `models.normalization_of` takes it.
    temperature: divides the logits.
  """

  architecture: str
  width: int
  normalization: str
  temperature: float


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
  """Sorts roles: those of this package first, others by name."""
  known = [role for role in _ORDER if role in names]
  return (*known, *sorted(set(names) - set(known)))


def roles(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns role -> architecture of the networks in a run."""
  return {role: config.model[role] for role in _ordered(config.roles)}


def trained_roles(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the roles that have an optimizer: the student and its partners."""
  return _ordered(config.optimizer)


def teacher_roles(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the roles of fixed networks that come from other runs or files."""
  return tuple(r for r in _ordered(config.roles) if r not in config.optimizer)


def width(config: ml_collections.ConfigDict, role: str) -> int:
  """Returns the base channels of a role's network."""
  return config.roles[role].width or config.model.width


def normalization(config: ml_collections.ConfigDict, role: str) -> str:
  """Returns the normalization of images inside a role's network."""
  return config.roles[role].normalization or config.model.normalization


def temperature(config: ml_collections.ConfigDict, role: str) -> float:
  """Returns what divides the logits of a role's network."""
  return config.roles[role].temperature


def network(config: ml_collections.ConfigDict, role: str) -> Network:
  """Returns what a role's network is."""
  return Network(
    config.model[role],
    width(config, role),
    normalization(config, role),
    temperature(config, role),
  )


def networks(config: ml_collections.ConfigDict) -> dict[str, Network]:
  """Returns role -> what its network is, for all networks of a run."""
  return {role: network(config, role) for role in _ordered(config.roles)}


def eval_step_size(config: ml_collections.ConfigDict) -> float:
  """Returns the step of evaluation attacks, in the unit of [0, 1]."""
  return config.eval.step_size or config.attack.step_size


def complete(config: ml_collections.ConfigDict) -> None:
  """Fills in what follows from other fields or from the data.

  That is the number of classes of a folder of images, and hyperparameters
  whose default 'auto' depends on `awp.enabled`.

  Args:
    config: it is changed.

  Raises:
    FileNotFoundError, ValueError: it is no such folder, or the config gives
      another number of classes.
  """
  import os

  from peeraid_jax import methods

  kwargs = config.method.kwargs
  for name, (without, with_awp) in methods.facts(
    config.method.name
  ).by_awp.items():
    if kwargs[name] == 'auto':
      kwargs[name] = with_awp if config.awp.enabled else without
  if config.data.name != 'folder':
    return
  from peeraid_jax.data import folder

  count = len(folder.classes(os.path.expanduser(config.data.dir)))
  if config.data.num_classes not in (0, count):
    raise ValueError(
      f'config.data.num_classes={config.data.num_classes} should be {count}, '
      f'the number of sub-folders of {config.data.dir}, or 0'
    )
  config.data.num_classes = count
