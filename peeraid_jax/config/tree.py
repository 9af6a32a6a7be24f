"""Configs as trees of fields: built from the table, loaded from files."""

import difflib
import importlib.util
import os
import traceback
from collections.abc import Iterator
from typing import Any

import ml_collections

from peeraid_jax.config import fields, values


def base(
  *,
  method: str = 'peeraid',
  student: str = 'resnet18',
  peer: str = 'resnet18',
  teacher: str = 'resnet18',
) -> ml_collections.ConfigDict:
  """Returns every field with its default: PeerAiD's CIFAR-10 run.

  Args:
    method: a name in `methods.METHODS`; it decides which fields exist.
    student: a name in `models.MODELS`.
    peer: likewise, of networks that train beside the student.
    teacher: likewise, of the fixed networks.

  Raises:
    ValueError: unknown method.
  """
  from peeraid_jax import methods

  facts = methods.facts(method)
  architectures = {
    'student': student,
    **dict.fromkeys(facts.partners, peer),
    **dict.fromkeys(facts.teachers, teacher),
  }
  filled_in: dict[str, Any] = {
    'method.name': method,
    'method.kwargs': values.Config(methods.defaults(method)),
    **{f'model.{role}': name for role, name in architectures.items()},
    **{
      f'{role}.train_config': f':method={trained_by},student={teacher}'
      for role, trained_by in facts.teachers.items()
    },
  }
  config = values.Config()
  for field in fields_of(method):
    *path, name = field.name.split('.')
    section = config
    for part in path:
      if part not in section:
        section[part] = values.Config()
      section = section[part]
    section[name] = filled_in.get(field.name, field.default)
  config.update_from_flattened_dict(facts.defaults)
  return config


def fields_of(method: str) -> Iterator[fields.Field]:
  """Yields the fields that a config of a method has.

  Raises:
    ValueError: unknown method.
  """
  from peeraid_jax import methods

  facts = methods.facts(method)
  trained = ('student', *facts.partners)
  return fields.expand(
    {
      'role': (*trained, *facts.teachers),
      'trained': trained,
      'partner': facts.partners,
      'teacher': tuple(facts.teachers),
    }
  )


def set_decays(config: ml_collections.ConfigDict, epochs: int, decays) -> None:
  """Sets the length of a run, its decays for all roles and SWA's start."""
  config.train.epochs = epochs
  for role in config.optimizer.values():
    role.decay_epochs = tuple(decays)
  config.swa.start_epoch = decays[0]


def load(argument: str) -> ml_collections.ConfigDict:
  """Loads a config file with its choices, as --config does.

  Args:
    argument: FILE or FILE:CHOICES.

  Raises:
    FileNotFoundError: no such file.
    ValueError: an unknown choice; or the file raises an error, or has no
      `get_config` that returns a config. Names the line.
  """
  path, colon, choices = argument.partition(':')
  if not os.path.isfile(path) or not path.endswith('.py'):
    raise FileNotFoundError(f'{path!r} is not a config file')
  spec = importlib.util.spec_from_file_location('config', path)
  assert spec is not None and spec.loader is not None  # It is a .py file.
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    made = module.get_config(*([choices] if colon else []))
  except (Exception, SystemExit) as error:
    raise ValueError(_explained(error, path)) from error
  if not isinstance(made, ml_collections.ConfigDict):
    raise ValueError(
      f'{path}: get_config should return a config, such as config.base(); it '
      f'returns {made!r}'
    )
  return made


def _explained(error: BaseException, path: str) -> str:
  """Returns where and how a config file fails, on one line."""
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if os.path.abspath(frame.filename) == os.path.abspath(path)
  ]
  message = ' '.join(str(error).split())
  if isinstance(error, SyntaxError):
    lines, message = [error.lineno], error.msg
  elif isinstance(error, AttributeError) and error.name == 'get_config':
    return f'{path}: it should define get_config(argument=None)'
  where = f'{path}, line {lines[-1]}' if lines else path
  plain = type(error) in (ValueError, TypeError)
  kind = '' if plain else f'{type(error).__name__}: '
  return f'{where}: {kind}{message}'


def lookup(config: ml_collections.ConfigDict, field: str) -> Any:
  """Returns the value of a dotted field."""
  value = config
  for name in field.split('.'):
    value = value[name]
  return value


def flatten(config) -> dict[str, Any]:
  """Returns 'a.b.c' -> value for every field."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, dict | ml_collections.ConfigDict) and len(value):
      inner = flatten(value)
      flat.update({f'{name}.{k}': v for k, v in inner.items()})
    else:
      flat[name] = value
  return flat


def suggest(field: str, config: ml_collections.ConfigDict) -> str:
  """Returns a message that a field is unknown, with those it could mean.

  Args:
    field: as it was given.
    config: with the known fields.
  """
  renamed = fields.RENAMED.get(field)
  if renamed:
    return f'config.{field} is unknown. It is config.{renamed} now'
  known = [f for f, v in flatten(config).items() if not isinstance(v, dict)]
  close = difflib.get_close_matches(field, known, n=3, cutoff=0.7)
  meant = f' Did you mean {" or ".join(close)}?' if close else ''
  return f'config.{field} is unknown.{meant} Known fields: {", ".join(known)}'
