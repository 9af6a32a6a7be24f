"""PyTorch files that a config names: a student to start from, teachers."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax import torch_io
from peeraid_jax.data import facts


def _named(config) -> Iterator[tuple[str, str, Any]]:
  """Yields (role, field, section with `torch` and `torch_key`)."""
  for role, field, section in (
    ('student', 'model', config.model),
    *((r, r, config.get(r)) for r in config_lib.TEACHER_ROLES),
  ):
    if section is not None and section.get('torch', ''):
      yield role, f'{field}.torch', section


def _read(config, role: str, field: str, section) -> torch_io.Imported:
  """Reads a role's file, as the config's architecture if it can be that."""
  try:
    found = torch_io.read(section.torch, key=section.torch_key)
  except (ValueError, FileNotFoundError) as error:
    raise type(error)(f'config.{field}: {error}') from None
  try:
    # Names and shapes do not tell all pre-activation ResNets apart.
    return found.as_architecture(config.model[role])
  except ValueError:
    return found


def fill_in(config: ml_collections.ConfigDict) -> list[str]:
  """Fills in what PyTorch files say of their networks.

  Args:
    config: its architectures, widths and normalizations are changed.

  Returns:
    What was found, for people.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: it is damaged, of no known network, or of other data.
  """
  told = []
  for role, field, section in _named(config):
    found = _read(config, role, field, section)
    name, width, classes, channels = found.architecture
    known = facts.of(config.data)
    if (classes, channels) != (known.num_classes, known.shape[-1]):
      raise ValueError(
        f'config.{field}={section.torch}: it is {found.describe()}, and '
        f'{config.data.name} has {known.num_classes} classes of images with '
        f'{known.shape[-1]} channels'
      )
    config.model[role] = name
    own = role == 'student'
    config.model['width' if own else f'{role}_width'] = width
    normal = 'normalization' if own else f'{role}_normalization'
    if not own and config.model[normal]:
      # Given: RSLAD's CIFAR-100 teacher, say, is used with CIFAR-10's numbers.
      found = found._replace(normalization=config.model[normal])
    if found.normalization:
      config.model[normal] = found.normalization
    elif config.model[normal] in ('', 'none'):
      try:
        torch_io.check_normalization(found, section.torch)
      except ValueError as error:
        raise ValueError(
          f'config.{field}: {error}: config.model.{normal}'
        ) from None
      config.model[normal] = 'none'
    told.append(f'{role}: {found.describe()}, from {section.torch}')
  return told


def student(
  config: ml_collections.ConfigDict,
) -> tuple[nets_lib.Net, dict[str, Any]] | None:
  """Returns the student of a PyTorch file, to be evaluated as it is.

  Args:
    config: after `fill_in`.

  Returns:
    (network, where it comes from, as JSON); None if the config names no file.
  """
  for role, field, section in _named(config):
    if role == 'student':
      found = _read(config, role, field, section)
      net = torch_io.to_net(found, dtype=config.dtype)
      net = net.replace(temperature=config_lib.temperature(config, role))
      return net, {**found.source, 'model': found.describe()}
  return None


def load(
  config: ml_collections.ConfigDict, nets: dict[str, nets_lib.Net]
) -> tuple[dict[str, nets_lib.Net], dict[str, Any]]:
  """Puts the networks of PyTorch files in their roles.

  Args:
    config: after `fill_in`.
    nets: role -> network, as built.

  Returns:
    (nets, role -> where its network comes from, as JSON).
  """
  told = {}
  for role, field, section in _named(config):
    found = _read(config, role, field, section)
    loaded = torch_io.to_net(found)
    for name in {role, f'{role}_swa'} & set(nets):
      # Copies: a donated state must not name one buffer twice.
      nets[name] = nets[name].replace(
        params=jax.tree.map(jnp.copy, loaded.params),
        batch_stats=jax.tree.map(jnp.copy, loaded.batch_stats),
      )
    told[role] = {**found.source, 'model': found.describe()}
  return nets, told
