"""Finds the state dict of one network in the content of a file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.torch_io import pickles

# Keys under which the field's repositories save a network. If a file holds
# several networks, the first of these keys that exists is taken.
_USUAL_KEYS = (
  'state_dict',
  'model_state_dict',
  'net',
  'model',
  'student',
  'last',
)
# How wrappers that normalise images name the numbers.
_MEAN_NAMES = ('mu', 'mean', 'new_mean')
_STD_NAMES = ('sigma', 'std', 'new_std')
# Parameters that a network does not compute with.
_UNUSED = (
  re.compile(r'(.*\.)?num_batches_tracked'),
  re.compile(r'(.*\.)?sub_block1\..*'),  # TRADES' WideResNet never calls it.
  re.compile(r'attacker\..*'),  # MadryLab/robustness saves the network twice.
)


class StateDict(NamedTuple):
  """The parameters of one network, and its normalization.

  Attributes:
    arrays: name in PyTorch -> array, without prefixes, and without the arrays
      that the network does not compute with.
    normalization: (mean, std), one number per channel, if the file has them.
    key: of the network in the file; '' for the top level.
  """

  arrays: dict[str, np.ndarray]
  normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
  key: str


def _of_module(module: pickles.Inert) -> dict[str, pickles.Tensor] | None:
  """Returns the state dict of a module that was saved whole.

  None: the object is not a module of PyTorch.
  """
  state = module.state
  if not isinstance(state, Mapping) or '_modules' not in state:
    return None
  tensors = {}
  for part in ('_parameters', '_buffers'):
    for name, value in (state.get(part) or {}).items():
      if isinstance(value, pickles.Tensor):
        tensors[name] = value
  for name, child in (state['_modules'] or {}).items():
    inner = _of_module(child) if isinstance(child, pickles.Inert) else None
    tensors |= {f'{name}.{k}': v for k, v in (inner or {}).items()}
  return tensors


def _is_state_dict(value) -> bool:
  return (
    isinstance(value, Mapping)
    and all(isinstance(k, str) for k in value)
    and all(isinstance(v, pickles.Tensor | np.ndarray) for v in value.values())
    and any(k.endswith('.weight') for k in value)
  )


def _search(
  value, key: str = '', depth: int = 0
) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """Yields (key, state dict) of every network in the content of a file."""
  if isinstance(value, pickles.Inert):
    value = _of_module(value)
  if _is_state_dict(value):
    yield key, value
  elif isinstance(value, Mapping) and depth < 4:
    for name, inner in value.items():
      if isinstance(name, str):
        inner_key = f'{key}.{name}' if key else name
        yield from _search(inner, inner_key, depth + 1)


def _select(content, key: str) -> tuple[str, Mapping[str, Any]]:
  """Returns (key, state dict) of the network that is asked for."""
  networks = dict(_search(content))
  if not networks:
    raise ValueError('it holds no parameters of a network')
  if key:
    if key not in networks:
      raise ValueError(
        f'{key!r} is none of its networks: {", ".join(networks)}'
      )
    return key, networks[key]
  if len(networks) == 1:
    return next(iter(networks.items()))
  for name in _USUAL_KEYS:
    if name in networks:
      return name, networks[name]
  raise ValueError(
    f'it holds several networks, {", ".join(networks)}; say which by its '
    'key (torch_key in a config)'
  )


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Strips the prefixes that wrappers add to every name: 'module.', '1.'."""
  while True:
    prefixes = {name.partition('.')[0] for name in arrays}
    if len(prefixes) != 1 or any('.' not in name for name in arrays):
      return arrays
    arrays = {name.partition('.')[2]: v for name, v in arrays.items()}


def _per_channel(array: np.ndarray) -> tuple[float, ...]:
  return tuple(float(v) for v in np.ravel(array))


def find(content, key: str = '') -> StateDict:
  """Finds the state dict of one network.

  Args:
    content: from `pickles.read`; or name -> array.
    key: of the network, in a file that holds several, such as
      'swa_state_dict'; dots lead into inner dicts.

  Raises:
    ValueError: there is no such network, or there are several.
  """
  key, selected = _select(content, key)
  arrays = {}
  for name, value in selected.items():
    name = name.removeprefix('module.')
    if not any(pattern.fullmatch(name) for pattern in _UNUSED):
      is_tensor = isinstance(value, pickles.Tensor)
      arrays[name] = value.array() if is_tensor else value
  means = [n for n in arrays if n.rpartition('.')[2] in _MEAN_NAMES]
  stds = [n for n in arrays if n.rpartition('.')[2] in _STD_NAMES]
  normalization = None
  if len(means) == len(stds) == 1:
    normalization = (
      _per_channel(arrays.pop(means[0])),
      _per_channel(arrays.pop(stds[0])),
    )
  arrays = _without_prefix(arrays)
  # AGKD-BML saves an encoder, and a projection head that only its loss uses.
  if any(n.startswith('encoder.') for n in arrays):
    used = {n: v for n, v in arrays.items() if not n.startswith('head.')}
    arrays = _without_prefix(used)
  return StateDict(arrays, normalization, key)
