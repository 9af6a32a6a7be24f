"""Paths as users give them: '~' is expanded, addresses are refused."""

import os
import re

import ml_collections

from peeraid_jax import config as config_lib

# Fields of a config that name a file or folder.
_FIELD = re.compile(
  r'data\.(dir|source)|eval\.corruptions|model\.\w+_from'
  r'|\w+\.(torch|workdir|train_config)'
)
_ADDRESS = re.compile(r'[A-Za-z][\w+.-]+://')


def is_path(field: str) -> bool:
  """Returns whether a dotted config field names a file or folder."""
  return _FIELD.fullmatch(field) is not None


def expanded(path: str) -> str:
  """Returns a path with '~' and '~user' at its start replaced.

  A path that exists as it is written stays as it is: earlier versions created
  folders of the name '~'. So does one whose home directory is not known.
  """
  return path if os.path.lexists(path) else os.path.expanduser(path)


def checked(path: str, name: str) -> str:
  """Returns the path on this computer that a user means.

  Args:
    path: as it was given.
    name: of the flag or field, for the message.

  Raises:
    ValueError: it is an address such as gs://, it is not valid UTF-8, or the
      home directory of '~' is not known.
  """
  if _ADDRESS.match(path):
    raise ValueError(
      f'{name}={path} is an address. Addresses are not supported yet: mount '
      'it, or copy it, and give the path of a local file or folder'
    )
  try:
    os.path.abspath(path).encode()
  except UnicodeEncodeError:
    # TensorStore, which writes checkpoints, cannot open such names.
    raise ValueError(
      f'{name}={path}: that path is not valid UTF-8; rename the folder or, if '
      'its name is right, set a locale of UTF-8 such as LC_ALL=C.UTF-8'
    ) from None
  local = expanded(path)
  if local == path and path.startswith('~') and not os.path.lexists(path):
    raise ValueError(
      f'{name}={path}: that home directory is not known; give a path without '
      "'~', or set HOME"
    )
  return local


def expand_config(
  config: ml_collections.ConfigDict, *, check: bool = True
) -> ml_collections.ConfigDict:
  """Expands '~' in all paths of a config.

  Args:
    config: it is changed.
    check: raise for what is no path on this computer.

  Returns:
    The same config.

  Raises:
    ValueError: as of `checked`; names the field.
  """
  for field, value in config_lib.flatten(config).items():
    if is_path(field) and isinstance(value, str) and value:
      local = checked(value, f'config.{field}') if check else expanded(value)
      config.update_from_flattened_dict({field: local})
  return config
