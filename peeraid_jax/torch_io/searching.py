"""Searches the content of a file for networks.

A file may hold containers that contain themselves, or each other so often that
to walk through all of them would never end. Every walk here has a limit, which
no file reaches whose containers are a tree.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peeraid_jax.torch_io import pickles, unpickler

# Of a module in modules.
_MAX_DEPTH = 20
# Of the name of an array, and of the key of a network, in characters.
_MAX_NAME = 500
_MAX_NETWORKS = 1000
# To look at a module takes the time of so many entries of a container.
_MODULE = 10
_MAX_ARRAYS = 100_000


class _Budget:
  """How many more entries of containers may be looked at."""

  def __init__(self):
    # A file that is a tree has fewer entries than its pickle has operations.
    self._left = unpickler.MAX_OPERATIONS

  def spend(self, count: int) -> None:
    self._left -= count
    if self._left < 0:
      raise ValueError(
        'its dicts or modules contain each other too often; save only the '
        'state dict of the network'
      )


def is_tensor(value) -> bool:
  """Whether a value is a tensor, even one that cannot be read."""
  return isinstance(value, pickles.Tensor | np.ndarray) or (
    isinstance(value, pickles.Inert) and value.is_tensor
  )


def _entries(value, budget: _Budget) -> list[tuple[str, Any]]:
  """Returns the named entries of what should be a dict."""
  if not isinstance(value, Mapping):
    return []
  budget.spend(len(value))
  return [(k, v) for k, v in value.items() if isinstance(k, str)]


def _is_module(value) -> bool:
  """Whether a value is a module of PyTorch that was saved whole."""
  return (
    isinstance(value, pickles.Inert)
    and isinstance(value.state, Mapping)
    and '_modules' in value.state
  )


def _of_module(module: pickles.Inert, budget: _Budget) -> dict[str, Any] | None:
  """Returns the state dict of a module that was saved whole.

  None: the object is not a module of PyTorch.
  """
  if not _is_module(module):
    return None
  found: dict[str, Any] = {}
  # (its path, the module); the next one is the last.
  pending: list[tuple[tuple[str, ...], pickles.Inert]] = [((), module)]
  while pending:
    path, inner = pending.pop()
    budget.spend(_MODULE)
    if len(path) > _MAX_DEPTH:
      raise ValueError(
        f'its modules are nested more than {_MAX_DEPTH} deep, or contain '
        'themselves'
      )
    for part in ('_parameters', '_buffers'):
      for name, value in _entries(inner.state.get(part), budget):
        if is_tensor(value):
          found[_joined(*path, name)] = value
    check_count(found)
    children = _entries(inner.state.get('_modules'), budget)
    pending += [
      ((*path, name), child)
      for name, child in reversed(children)
      if _is_module(child)
    ]
  return found


def check_count(arrays: Mapping[str, Any]) -> None:
  """Checks that a network has not too many arrays to be one."""
  if len(arrays) > _MAX_ARRAYS:
    raise ValueError(
      f'it has {len(arrays)} arrays, and a network has at most {_MAX_ARRAYS}'
    )


def check_name(name: str) -> None:
  """Checks that a name can be printed, and looked at part by part."""
  if len(name) > _MAX_NAME:
    raise ValueError(f'it has names of more than {_MAX_NAME} characters')


def _joined(*path: str) -> str:
  for name in path:
    check_name(name)
  name = '.'.join(path)
  check_name(name)
  return name


def _is_state_dict(value: Mapping) -> bool:
  return (
    all(isinstance(k, str) for k in value)
    and all(is_tensor(v) for v in value.values())
    and any(k.endswith('.weight') for k in value)
  )


def _walk(
  value, budget: _Budget, path: tuple[str, ...], parents: tuple[int, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """Yields (key, state dict) of every network in a value."""
  if isinstance(value, pickles.Inert):
    value = _of_module(value, budget)
  if not isinstance(value, Mapping) or id(value) in parents:
    return
  budget.spend(len(value))
  if _is_state_dict(value):
    yield _joined(*path), value
  elif len(path) < 4:
    for name, inner in value.items():
      if isinstance(name, str):
        yield from _walk(inner, budget, (*path, name), (*parents, id(value)))


def networks(content) -> dict[str, Mapping[str, Any]]:
  """Returns the state dicts in the content of a file, by their keys.

  Args:
    content: from `pickles.read`; or name -> array.

  Raises:
    ValueError: there are too many, or too many entries that are none.
  """
  found: dict[str, Mapping[str, Any]] = {}
  for key, state_dict in _walk(content, _Budget(), (), ()):
    if key in found:
      raise ValueError(f'it holds two networks of the key {key!r}')
    found[key] = state_dict
    if len(found) > _MAX_NETWORKS:
      raise ValueError(
        f'it holds more than {_MAX_NETWORKS} networks; save only one of them'
      )
  return found
