"""How the field's PyTorch networks name their parameters.

The layouts are those of kuangliu's ResNets and MobileNetV2 (PeerAiD, RSLAD,
and most of RobustBench), TRADES' WideResNet (LTD, AWP, AGKD-BML), torchvision's
ResNets and DeepMind's networks.
"""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.models import mobilenetv2, resnet, wideresnet


class Leaf(NamedTuple):
  """One array of a network, here and in PyTorch.

  Attributes:
    name: in PyTorch.
    collection: 'params' or 'batch_stats'.
    path: below the collection, here.
    shape: in PyTorch.
  """

  name: str
  collection: str
  path: tuple[str, ...]
  shape: tuple[int, ...]


# What the layers inside a block are called, and those outside of one.
_RESNET = {
  'norm': 'bn',
  'shortcut_conv': 'shortcut.0',
  'shortcut_norm': 'shortcut.1',
  'stem_conv': 'conv1',
  'stem_norm': 'bn1',
  'final_norm': 'bn',
  'linear': 'linear',
  'block': 'layer{stage}.{index}',
}
_TORCHVISION = _RESNET | {
  'shortcut_conv': 'downsample.0',
  'shortcut_norm': 'downsample.1',
  'linear': 'fc',
}
_WIDE = {
  'norm': 'bn',
  'shortcut_conv': 'convShortcut',
  'stem_conv': 'conv1',
  'final_norm': 'bn1',
  'linear': 'fc',
  'block': 'block{stage}.layer.{index}',
}
_MOBILE = _RESNET | {
  'last_conv': 'conv2',
  'last_norm': 'bn2',
  'block': 'layers.{running}',
}
_DEEPMIND_WIDE = {
  'norm1': 'batchnorm_0',
  'conv1': 'conv_0',
  'norm2': 'batchnorm_1',
  'conv2': 'conv_1',
  'shortcut_conv': 'shortcut',
  'stem_conv': 'init_conv',
  'final_norm': 'batchnorm',
  'linear': 'logits',
  'block': 'layer.{before}.block.{index}',
}
_DEEPMIND_RESNET = _DEEPMIND_WIDE | {
  'conv1': 'conv_2d_1',
  'conv2': 'conv_2d_2',
  'stem_conv': 'conv_2d',
  'block': 'layer_{before}.{index}',
}

_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}
_BLOCK = re.compile(r'(?:stage|group)(\d+)_block(\d+)')


def _table(module: nn.Module) -> dict[str, str]:
  if isinstance(module, wideresnet.WideResNet):
    return _DEEPMIND_WIDE if module.deepmind else _WIDE
  if isinstance(module, mobilenetv2.MobileNetV2):
    return _MOBILE
  if isinstance(module, resnet.ResNet):
    if module.deepmind:
      return _DEEPMIND_RESNET
    return _TORCHVISION if module.imagenet_stem else _RESNET
  raise ValueError(f'{type(module).__name__} has no layout in PyTorch')


def _layer(name: str, table: Mapping[str, str]) -> str:
  if name in table:
    return table[name]
  kind = name.rstrip('0123456789')
  return table.get(kind, kind) + name[len(kind) :]


def _torch_shape(leaf: str, shape) -> tuple[int, ...]:
  if leaf == 'kernel':
    return tuple(shape[i] for i in _to_torch(len(shape)))
  return tuple(shape)


def _to_torch(rank: int) -> tuple[int, ...]:
  """Axes of PyTorch's kernels, of ours: HWIO -> OIHW, and IO -> OI."""
  return (3, 2, 0, 1) if rank == 4 else (1, 0)


@functools.lru_cache(maxsize=16)
def leaves(module: nn.Module, channels: int = 3) -> tuple[Leaf, ...]:
  """Returns every array of a network, in its order here.

  Args:
    module: of `models.create`.
    channels: of its images.

  Raises:
    ValueError: PyTorch's repositories have no such network.
  """
  table = _table(module)
  images = jnp.zeros((1, 32, 32, channels))
  variables = jax.eval_shape(
    module.clone(axis_name=None).init, jax.random.key(0), images
  )
  blocks = sorted(
    {k for k in variables['params'] if _BLOCK.fullmatch(k)},
    key=lambda k: tuple(map(int, _BLOCK.fullmatch(k).groups())),
  )
  found = []
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    collection, *inner = [part.key for part in path]
    names = []
    for part in inner[:-1]:
      match = _BLOCK.fullmatch(part)
      if match:
        stage, index = map(int, match.groups())
        names.append(
          table['block'].format(
            stage=stage,
            before=stage - 1,
            index=index - 1,
            running=blocks.index(part),
          )
        )
      else:
        names.append(_layer(part, table))
    name = '.'.join([*names, _LEAVES[inner[-1]]])
    shape = _torch_shape(inner[-1], leaf.shape)
    found.append(Leaf(name, collection, tuple(inner), shape))
  return tuple(found)


def to_ours(array: np.ndarray) -> np.ndarray:
  """Returns an array of PyTorch in the order of axes that it has here."""
  array = np.asarray(array, np.float32)
  if array.ndim < 2:
    return array
  return np.transpose(array, np.argsort(_to_torch(array.ndim)))


def to_torch(array: np.ndarray) -> np.ndarray:
  """Returns an array of ours in the order of axes that PyTorch has."""
  array = np.asarray(array)
  if array.ndim < 2:
    return array
  return np.ascontiguousarray(np.transpose(array, _to_torch(array.ndim)))


def some(names, most: int = 8) -> str:
  """Returns the first names of many, for a message."""
  names = [str(n) for n in names]
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def check(arrays: Mapping[str, np.ndarray], expected: tuple[Leaf, ...]) -> None:
  """Checks that a state dict has a network's arrays, and nothing else.

  Raises:
    ValueError: lists what is missing, too many, or of another shape.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  wanted = {leaf.name: leaf.shape for leaf in expected}
  wrong = [
    f'{name} is {shapes[name]}, not {shape}'
    for name, shape in wanted.items()
    if name in shapes and shapes[name] != shape
  ]
  said = [
    f'{what}: {some(names)}'
    for what, names in (
      ('missing', [n for n in wanted if n not in shapes]),
      ('unexpected', [n for n in shapes if n not in wanted]),
      ('of another shape', wrong),
    )
    if names
  ]
  if said:
    raise ValueError('; '.join(said))
