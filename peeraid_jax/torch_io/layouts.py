"""The parameters of a network, each with its name and shape in PyTorch."""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.torch_io import families


class Leaf(NamedTuple):
  """One array of a network, here and in PyTorch.

  Attributes:
    name: in PyTorch.
    collection: 'params' or 'batch_stats', here.
    path: below the collection, here.
    shape: in PyTorch.
  """

  name: str
  collection: str
  path: tuple[str, ...]
  shape: tuple[int, ...]


# Name of an array of a layer here -> its name in PyTorch.
_ARRAYS = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}
_BLOCK = re.compile(r'(?:stage|group)(\d+)_block(\d+)')


def _stage_and_index(block: str) -> tuple[int, int]:
  """Returns the numbers in the name of a block here, both counted from 1."""
  match = _BLOCK.fullmatch(block)
  assert match is not None, block
  return int(match[1]), int(match[2])


def _layer_name(layer: str, layers: Mapping[str, str]) -> str:
  """Returns the name in PyTorch of a layer here."""
  if layer in layers:
    return layers[layer]
  kind = layer.rstrip('0123456789')
  return layers.get(kind, kind) + layer[len(kind) :]


def _kernel_axes(rank: int) -> tuple[int, ...]:
  """Returns the axes of a kernel here, in the order that PyTorch has.

  Convolutions are HWIO here and OIHW there, linear layers IO and OI.
  """
  return (3, 2, 0, 1) if rank == 4 else (1, 0)


def name_leaves(
  module: nn.Module, variables: Mapping[str, Any]
) -> tuple[Leaf, ...]:
  """Names the arrays of a network as PyTorch does.

  Args:
    module: the network.
    variables: 'params' and 'batch_stats' -> nested arrays; only their names
      and shapes are used.

  Returns:
    One leaf per array, ordered by collection and path.

  Raises:
    ValueError: PyTorch's repositories have no such network.
  """
  family = families.of_module(module)
  blocks = sorted(
    filter(_BLOCK.fullmatch, variables['params']), key=_stage_and_index
  )

  def torch_name(part: str) -> str:
    if part not in blocks:
      return _layer_name(part, family.layers)
    stage, index = _stage_and_index(part)
    return family.block.format(
      stage=stage,
      stage_from_0=stage - 1,
      index=index - 1,
      running=blocks.index(part),
    )

  leaves_ = []
  for keys, array in jax.tree_util.tree_leaves_with_path(variables):
    collection, *path = [key.key for key in keys]
    *layers, kind = path
    if kind not in _ARRAYS:
      raise families.no_layout(module)
    shape = tuple(array.shape)
    if kind == 'kernel':
      shape = tuple(shape[axis] for axis in _kernel_axes(len(shape)))
    name = '.'.join([*map(torch_name, layers), _ARRAYS[kind]])
    leaves_.append(Leaf(name, collection, tuple(path), shape))
  return tuple(leaves_)


@functools.lru_cache(maxsize=16)
def leaves(module: nn.Module, channels: int = 3) -> tuple[Leaf, ...]:
  """Returns every array of a network that need not be initialised.

  Args:
    module: the network, as `models.create` returns it.
    channels: number of channels of its images.

  Returns:
    As `name_leaves`.

  Raises:
    ValueError: PyTorch's repositories have no such network, or its arrays are
      larger than a computer can number.
  """
  images = jnp.zeros((1, 32, 32, channels))
  try:
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
  except OverflowError as error:
    raise ValueError(
      f'the arrays of a {type(module).__name__} like this are too large'
    ) from error
  return name_leaves(module, variables)


def to_ours(array: np.ndarray) -> np.ndarray:
  """Returns an array of PyTorch in float32, with its axes ordered as here."""
  array = np.asarray(array, np.float32)
  if array.ndim < 2:
    return array
  return np.transpose(array, np.argsort(_kernel_axes(array.ndim)))


def to_torch(array: np.ndarray) -> np.ndarray:
  """Returns an array of ours with its axes ordered as in PyTorch."""
  array = np.asarray(array)
  if array.ndim < 2:
    return array
  return np.ascontiguousarray(np.transpose(array, _kernel_axes(array.ndim)))


def _printable(name: str, most: int = 100) -> str:
  """Shortens a long name, and escapes what would not stay on one line."""
  name = name if len(name) <= most else f'{name[:most]}...'
  return name if name.isprintable() else repr(name)


def some(names: Iterable[str], most: int = 8) -> str:
  """Lists the first names, and how many more there are, for a message."""
  names = [_printable(str(name)) for name in names]
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def check(arrays: Mapping[str, np.ndarray], expected: tuple[Leaf, ...]) -> None:
  """Checks that a state dict has the arrays of a network, and no others.

  Args:
    arrays: name in PyTorch -> array.
    expected: the arrays of the network.

  Raises:
    ValueError: lists the arrays that are missing, that do not belong to the
      network, and that have another shape or another kind of numbers.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  expected_shapes = {leaf.name: leaf.shape for leaf in expected}
  problems = {
    'missing': [n for n in expected_shapes if n not in shapes],
    'unexpected': [n for n in shapes if n not in expected_shapes],
    'of another shape': [
      f'{name} is {shapes[name]}, not {shape}'
      for name, shape in expected_shapes.items()
      if name in shapes and shapes[name] != shape
    ],
    'not of floating-point numbers': [
      f'{name} is of {array.dtype.name}'
      for name, array in arrays.items()
      if name in expected_shapes
      and not jnp.issubdtype(array.dtype, jnp.floating)
    ],
  }
  message = '; '.join(
    f'{problem}: {some(names)}' for problem, names in problems.items() if names
  )
  if message:
    raise ValueError(message)
