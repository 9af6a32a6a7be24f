"""PyTorch files that a config names: a student to start from, and teachers."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax import torch_io
from peeraid_jax.config import dataset


def _named(config) -> Iterator[tuple[str, str, Any]]:
  """Yields (role, field, section with `torch` and `torch_key`)."""
  sections = {'student': ('model', config.model)}
  for role in config_lib.teacher_roles(config):
    sections[role] = (role, config[role])
  for role, (field, section) in sections.items():
    if section.torch:
      yield role, f'{field}.torch', section


def _read(config, role: str, field: str, section) -> torch_io.Imported:
  """Reads a role's file, as the config's architecture if it can be that."""
  try:
    imported = torch_io.read(section.torch, key=section.torch_key)
  except (ValueError, FileNotFoundError) as error:
    raise type(error)(f'config.{field}: {error}') from None
  try:
    # Names and shapes do not distinguish all pre-activation ResNets.
    return imported.as_architecture(config.model[role])
  except ValueError:
    return imported


def _resolve_normalization(
  config, role: str, field: str, section, imported: torch_io.Imported
) -> torch_io.Imported:
  """Sets the normalization of a file's network: the config's, else the file's.

  A given normalization of a teacher goes first: RSLAD, for one, uses its
  CIFAR-100 teacher with CIFAR-10's numbers.
  """
  # Width and normalization of the student are those of all networks that have
  # none of their own.
  own = role != 'student'
  settings = config.roles[role] if own else config.model
  if own and settings.normalization:
    imported = imported._replace(normalization=settings.normalization)
  if imported.normalization:
    settings.normalization = imported.normalization
  elif settings.normalization in ('', 'none'):
    try:
      torch_io.check_normalization(imported, section.torch)
    except ValueError as error:
      name = f'roles.{role}' if own else 'model'
      raise ValueError(
        f'config.{field}: {error}: config.{name}.normalization'
      ) from None
    settings.normalization = 'none'
  return imported


def fill_in(config: ml_collections.ConfigDict) -> list[str]:
  """Sets architectures, widths and normalizations to those of PyTorch files.

  Args:
    config: it is changed.

  Returns:
    One line for each file, which describes its network.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: it is damaged, of no known network, or of other data.
  """
  descriptions = []
  for role, field, section in _named(config):
    imported = _read(config, role, field, section)
    name, width, classes, channels = imported.architecture
    facts = dataset.facts_of(config.data)
    if (classes, channels) != (facts.num_classes, facts.shape[-1]):
      raise ValueError(
        f'config.{field}={section.torch}: it is {imported.describe()}, and '
        f'{config.data.name} has {facts.num_classes} classes of images with '
        f'{facts.shape[-1]} channels'
      )
    config.model[role] = name
    (config.model if role == 'student' else config.roles[role]).width = width
    imported = _resolve_normalization(config, role, field, section, imported)
    descriptions.append(f'{role}: {imported.describe()}, from {section.torch}')
  return descriptions


def _read_again(config, role: str, field: str, section) -> torch_io.Imported:
  """Reads a role's file after `fill_in`.

  Raises:
    ValueError: it was replaced meanwhile by a file of another architecture.
  """
  imported = _read(config, role, field, section)
  if imported.architecture[:2] != (
    config.model[role],
    config_lib.width(config, role),
  ):
    raise ValueError(
      f'config.{field}={section.torch} was replaced since the command began: '
      f'it is {imported.describe()} now; start the command again'
    )
  return imported


def student(
  config: ml_collections.ConfigDict,
) -> tuple[nets_lib.Net, dict[str, Any]] | None:
  """Returns the student of a PyTorch file, to be evaluated unchanged.

  Args:
    config: after `fill_in`.

  Returns:
    (network, its provenance as JSON); None if the config names no file.
  """
  for role, field, section in _named(config):
    if role == 'student':
      imported = _read_again(config, role, field, section)
      net = torch_io.to_net(imported, dtype=config.dtype)
      net = net.replace(temperature=config_lib.temperature(config, role))
      return net, {**imported.source, 'model': imported.describe()}
  return None


def load(
  config: ml_collections.ConfigDict, nets: dict[str, nets_lib.Net]
) -> tuple[dict[str, nets_lib.Net], dict[str, Any]]:
  """Puts the networks of PyTorch files into their roles.

  Args:
    config: after `fill_in`.
    nets: role -> network, as initialised.

  Returns:
    (nets, role -> provenance of its network, as JSON).
  """
  provenance = {}
  for role, field, section in _named(config):
    imported = _read_again(config, role, field, section)
    loaded = torch_io.to_net(imported)
    for name in {role, f'{role}_swa'} & set(nets):
      # Copies: a donated state must not name one buffer twice.
      nets[name] = nets[name].replace(
        params=jax.tree.map(jnp.copy, loaded.params),
        batch_stats=jax.tree.map(jnp.copy, loaded.batch_stats),
      )
    provenance[role] = {**imported.source, 'model': imported.describe()}
  return nets, provenance
