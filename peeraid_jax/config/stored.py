"""Configs as JSON: stored in work directories and results, and compared."""

import json
from typing import Any

import ml_collections

from peeraid_jax.config import fields, tree


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns the config as JSON holds it: lists for tuples."""
  return json.loads(json.dumps(config.to_dict()))


def _with_tuples(value):
  """Undoes JSON's lists: configs hold tuples."""
  if isinstance(value, dict):
    return {k: _with_tuples(v) for k, v in value.items()}
  return tuple(value) if isinstance(value, list) else value


def _filled(old: dict, new: dict) -> dict:
  """Adds the fields of `new` that `old` does not have."""
  merged = dict(new)
  for name, value in old.items():
    if isinstance(value, dict) and isinstance(new.get(name), dict):
      value = _filled(value, new[name])
    merged[name] = value
  return merged


def _renamed(stored: dict[str, Any]) -> dict[str, Any]:
  """Moves fields that have another name now."""
  moved = json.loads(json.dumps(stored))
  for old, new in fields.RENAMED.items():
    *path, name = old.split('.')
    section = moved
    for part in path:
      section = section.get(part, {})
    if name in section:
      value = section.pop(name)
      *path, name = new.split('.')
      target = moved
      for part in path:
        target = target.setdefault(part, {})
      target[name] = value
  return moved


def _as_it_acted(stored: dict[str, Any]) -> dict[str, Any]:
  """Adds fields that earlier versions did not have, as these versions acted."""
  from peeraid_jax import methods  # Heavy: it imports JAX.

  stored.setdefault('eval', {}).setdefault('subset', 'first')
  kwargs = stored['method']['kwargs']
  name = stored['method']['name']
  for hyperparameter, (without_awp, _) in methods.facts(name).by_awp.items():
    kwargs.setdefault(hyperparameter, without_awp)
  if name == 'adaiad' and 'temperature' in kwargs:
    # One temperature served both terms.
    kwargs.setdefault('self_temperature', kwargs['temperature'])
  return stored


def from_json(stored: dict[str, Any]) -> ml_collections.ConfigDict:
  """Returns the config that `to_json` was given.

  Fields that did not exist then get what acted then, which usually is their
  default; renamed fields are moved.

  Raises:
    ValueError, KeyError, TypeError, AttributeError: it is no config.
  """
  stored = _as_it_acted(_renamed(stored))
  model = stored['model']
  defaults = tree.base(
    method=stored['method']['name'],
    student=model['student'],
    peer=model.get('peer', model['student']),
    teacher=model.get('teacher', model['student']),
  )
  return ml_collections.ConfigDict(
    _with_tuples(_filled(stored, defaults.to_dict()))
  )


def differences(
  stored: dict[str, Any], given: dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns field -> (stored, given) where two configs train differently.

  Args:
    stored, given: as of `to_json`.
  """
  old, new = tree.flatten(stored), tree.flatten(given)
  return {
    field: (old.get(field, 'absent'), new.get(field, 'absent'))
    for field in sorted({*old, *new})
    if not fields.is_free(field) and old.get(field) != new.get(field)
  }
