"""The parameters of one network in what a file holds: name -> array."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.torch_io import pickles

# Where the field's repositories put a network; the first one that is there.
_USUAL = ('state_dict', 'model_state_dict', 'net', 'model', 'student', 'last')

_MEANS = ('mu', 'mean', 'new_mean')
_DEVIATIONS = ('sigma', 'std', 'new_std')
# Beside a network in its file and not a part of what it computes.
_UNUSED = (
  re.compile(r'(.*\.)?num_batches_tracked'),
  re.compile(r'(.*\.)?sub_block1\..*'),  # TRADES' WideResNet: never called
  re.compile(r'attacker\..*'),  # MadryLab/robustness: the network once more
)


class StateDict(NamedTuple):
  """What a file says of a network.

  Attributes:
    arrays: name in PyTorch -> array, without prefixes, and without what the
      network does not compute with.
    normalization: (mean, std), one per channel, if the file has them.
    key: where in the file it was; '' at its top.
  """

  arrays: dict[str, np.ndarray]
  normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
  key: str


def _of_module(module: pickles.Inert) -> dict[str, pickles.Tensor] | None:
  """Returns the state dict of a module that was saved whole."""
  state = module.state
  if not isinstance(state, Mapping) or '_modules' not in state:
    return None
  found = {}
  for part in ('_parameters', '_buffers'):
    for name, value in (state.get(part) or {}).items():
      if isinstance(value, pickles.Tensor):
        found[name] = value
  for name, child in (state['_modules'] or {}).items():
    inner = _of_module(child) if isinstance(child, pickles.Inert) else None
    found |= {f'{name}.{k}': v for k, v in (inner or {}).items()}
  return found


def _is_state_dict(value) -> bool:
  return (
    isinstance(value, Mapping)
    and all(isinstance(k, str) for k in value)
    and all(isinstance(v, pickles.Tensor | np.ndarray) for v in value.values())
    and any(k.endswith('.weight') for k in value)
  )


def _candidates(value, key: str = '', depth: int = 0) -> Iterator:
  """Yields (key, state dict) of every network in a file."""
  if isinstance(value, pickles.Inert):
    value = _of_module(value)
  if _is_state_dict(value):
    yield key, value
  elif isinstance(value, Mapping) and depth < 4:
    for name, inner in value.items():
      if isinstance(name, str):
        yield from _candidates(
          inner, f'{key}.{name}' if key else name, depth + 1
        )


def _chosen(content, key: str) -> tuple[str, Mapping[str, Any]]:
  found = dict(_candidates(content))
  if not found:
    raise ValueError('it holds no parameters of a network')
  if key:
    if key not in found:
      raise ValueError(f'{key!r} is none of its networks: {", ".join(found)}')
    return key, found[key]
  if len(found) == 1:
    return next(iter(found.items()))
  for name in _USUAL:
    if name in found:
      return name, found[name]
  raise ValueError(
    f'it holds several networks, {", ".join(found)}; say which by its '
    'key (torch_key in a config)'
  )


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Strips what wrappers put before every name: 'module.', 'model.', '1.'."""
  while True:
    heads = {name.partition('.')[0] for name in arrays}
    if len(heads) != 1 or any('.' not in name for name in arrays):
      return arrays
    arrays = {name.partition('.')[2]: v for name, v in arrays.items()}


def _per_channel(array: np.ndarray) -> tuple[float, ...]:
  return tuple(float(v) for v in np.ravel(array))


def find(content, key: str = '') -> StateDict:
  """Finds the parameters of one network.

  Args:
    content: what `pickles.read` returns, or name -> array.
    key: which of several, such as 'swa_state_dict'; inner ones with dots.

  Raises:
    ValueError: there is none, or there are several.
  """
  key, chosen = _chosen(content, key)
  arrays = {}
  for name, value in chosen.items():
    name = name.removeprefix('module.')
    if not any(pattern.fullmatch(name) for pattern in _UNUSED):
      is_tensor = isinstance(value, pickles.Tensor)
      arrays[name] = value.array() if is_tensor else value
  means = [n for n in arrays if n.rpartition('.')[2] in _MEANS]
  deviations = [n for n in arrays if n.rpartition('.')[2] in _DEVIATIONS]
  normalization = None
  if len(means) == len(deviations) == 1:
    normalization = (
      _per_channel(arrays.pop(means[0])),
      _per_channel(arrays.pop(deviations[0])),
    )
  arrays = _without_prefix(arrays)
  # AGKD-BML: an encoder, and a projection that only its loss looks at.
  if any(n.startswith('encoder.') for n in arrays):
    kept = {n: v for n, v in arrays.items() if not n.startswith('head.')}
    arrays = _without_prefix(kept)
  return StateDict(arrays, normalization, key)
