"""Finds the state dict of one network in the content of a file."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.torch_io import layouts, pickles, searching

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
_MAX_CHANNELS = 1000
# In how many tensors of one network a number may be. A wrapper may hold the
# network several times, or a layer be used several times.
_MOST_COPIES = 8
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


def _select(content, key: str) -> tuple[str, Mapping[str, Any]]:
  """Returns (key, state dict) of the network that is asked for."""
  networks = searching.networks(content)
  if not networks:
    raise ValueError('it holds no parameters of a network')
  if key:
    if key not in networks:
      raise ValueError(
        f'{key!r} is none of its networks: {layouts.some(networks)}'
      )
    return key, networks[key]
  if len(networks) == 1:
    return next(iter(networks.items()))
  for name in _USUAL_KEYS:
    if name in networks:
      return name, networks[name]
  raise ValueError(
    f'it holds several networks, {layouts.some(networks)}; say which by its '
    'key (torch_key in a config)'
  )


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Strips the prefixes that wrappers add to every name: 'module.', '1.'."""
  while True:
    prefixes = {name.partition('.')[0] for name in arrays}
    if len(prefixes) != 1 or any('.' not in name for name in arrays):
      return arrays
    arrays = {name.partition('.')[2]: v for name, v in arrays.items()}


def _per_channel(name: str, array: np.ndarray) -> tuple[float, ...]:
  """Returns the mean or the deviation by which images are normalised."""
  if array.size > _MAX_CHANNELS or array.dtype.kind == 'c':
    raise ValueError(
      f'{name} has {array.size} numbers of type {array.dtype.name}; to '
      'normalise images it should have one real number per channel'
    )
  return tuple(float(v) for v in np.ravel(array))


def _array(name: str, value) -> np.ndarray:
  """Returns a value of a state dict as an array."""
  if isinstance(value, pickles.Inert):
    raise ValueError(
      f'{name} is made by {value.name[:80]}; quantised, sparse and other '
      'special tensors cannot be read: save it as a dense tensor of float32'
    )
  return value.array() if isinstance(value, pickles.Tensor) else value


def _check_sharing(tensors: Iterable, arrays: Iterable[np.ndarray]) -> None:
  """Checks that few tensors share numbers: they are copied one by one."""
  storages = {
    id(tensor.storage): tensor.storage.array.nbytes
    for tensor in tensors
    if isinstance(tensor, pickles.Tensor) and tensor.storage.array is not None
  }
  needed = sum(array.nbytes for array in arrays)
  if storages and needed > _MOST_COPIES * sum(storages.values()):
    raise ValueError(
      f'its tensors overlap: they have {needed} bytes in storages of '
      f'{sum(storages.values())}; save clones of them'
    )


def _arrays(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns the arrays of a state dict that a network computes with."""
  searching.check_count(state_dict)
  arrays: dict[str, np.ndarray] = {}
  for full_name, value in state_dict.items():
    searching.check_name(full_name)
    name = full_name.removeprefix('module.')
    if name in arrays:
      raise ValueError(f'it holds {name} twice, with and without "module."')
    if not any(pattern.fullmatch(name) for pattern in _UNUSED):
      arrays[name] = _array(name, value)
  _check_sharing(state_dict.values(), arrays.values())
  return arrays


def find(content, key: str = '') -> StateDict:
  """Finds the state dict of one network.

  Args:
    content: from `pickles.read`; or name -> array.
    key: of the network, in a file that holds several, such as
      'swa_state_dict'; dots lead into inner dicts.

  Raises:
    ValueError: there is no such network, or there are several; or its
      tensors are damaged or of a kind that cannot be read.
  """
  key, selected = _select(content, key)
  arrays = _arrays(selected)
  means = [n for n in arrays if n.rpartition('.')[2] in _MEAN_NAMES]
  stds = [n for n in arrays if n.rpartition('.')[2] in _STD_NAMES]
  normalization = None
  if len(means) == len(stds) == 1:
    normalization = (
      _per_channel(means[0], arrays.pop(means[0])),
      _per_channel(stds[0], arrays.pop(stds[0])),
    )
  arrays = _without_prefix(arrays)
  # AGKD-BML saves an encoder, and a projection head that only its loss uses.
  if any(n.startswith('encoder.') for n in arrays):
    used = {n: v for n, v in arrays.items() if not n.startswith('head.')}
    arrays = _without_prefix(used)
  return StateDict(arrays, normalization, key)
