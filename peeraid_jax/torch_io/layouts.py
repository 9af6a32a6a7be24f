"""How the field's PyTorch networks name their parameters, and which is which.

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

from peeraid_jax import models
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


class Architecture(NamedTuple):
  """A network, as `models.create` takes it.

  Attributes:
    name: of the network.
    width: its base channels.
    num_classes: its logits.
    channels: of its images.
  """

  name: str
  width: int
  num_classes: int
  channels: int


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


def _count(shapes, pattern: str) -> int:
  """Returns how many numbers a pattern's group takes on."""
  found = {m[1] for m in (re.match(pattern, name) for name in shapes) if m}
  return len(found)


def _same_resnet(shapes, stem: str, *, first: str, deepmind: bool) -> str:
  """Returns the name of the ResNet whose blocks are those of a file."""
  offset = 0 if deepmind else 1
  sizes = []
  while size := _count(
    shapes, first.format(stage=len(sizes) + offset) + r'(\d+)\.'
  ):
    sizes.append(size)
  norm = 'batchnorm' if deepmind else 'bn'
  traits = {
    'stage_sizes': tuple(sizes),
    'deepmind': deepmind,
    'stem_norm': not deepmind and 'bn1.weight' in shapes,
    'final_norm': f'{norm}.weight' in shapes,
    'imagenet_stem': shapes[stem][-1] == 7,
    'bottleneck': any(n.endswith('.conv3.weight') for n in shapes),
  }
  for name, constructor in models.MODELS.items():
    module = constructor(num_classes=1)
    if isinstance(module, resnet.ResNet) and traits == {
      **{k: getattr(module, k, None) for k in traits},
      'bottleneck': module.block is resnet.Bottleneck,
    }:
      return name
  raise ValueError(
    f'a ResNet with {traits} is none of {", ".join(models.MODELS)}'
  )


def _widening(shapes, stem: str, block: str, maker: str) -> tuple[str, int]:
  per_group = _count(shapes, block + r'(\d+)\.')
  channels = next(
    shape[0]
    for name, shape in shapes.items()
    if re.match(block + r'0\.conv', name) and len(shape) == 4
  )
  widen = max(1, round(channels / shapes[stem][0]))
  name = f'{maker}wideresnet{6 * per_group + 4}x{widen}'
  return name, shapes[stem][0] * 4


def detect(arrays: Mapping[str, np.ndarray]) -> Architecture:
  """Tells which network a state dict is of.

  What no array shows is taken as it usually is: a pre-activation ResNet with
  a norm at its end has activated shortcuts, one without has raw ones.

  Args:
    arrays: name in PyTorch, without prefixes -> array.

  Raises:
    ValueError: it is none of the known ones.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  linear = next(
    (n for n in ('linear', 'fc', 'logits') if f'{n}.weight' in shapes), None
  )
  if linear is None:
    raise ValueError(
      'its names are those of no known network: it has no linear.weight, '
      f'fc.weight or logits.weight, but {_some(shapes)}'
    )
  if 'block1.layer.0.conv1.weight' in shapes and 'conv1.weight' in shapes:
    stem = 'conv1.weight'
    name, width = _widening(shapes, stem, r'block1\.layer\.', '')
  elif (
    'layer.0.block.0.conv_0.weight' in shapes and 'init_conv.weight' in shapes
  ):
    stem = 'init_conv.weight'
    name, width = _widening(shapes, stem, r'layer\.0\.block\.', 'dm_')
  elif 'layer_0.0.conv_2d_1.weight' in shapes and 'conv_2d.weight' in shapes:
    stem = 'conv_2d.weight'
    name = _same_resnet(shapes, stem, first=r'layer_{stage}\.', deepmind=True)
    width = shapes[stem][0]
  elif 'layers.0.conv1.weight' in shapes and 'conv1.weight' in shapes:
    stem = 'conv1.weight'
    name, width = 'mobilenetv2', 2 * shapes[stem][0]
  elif 'layer1.0.conv1.weight' in shapes and 'conv1.weight' in shapes:
    stem = 'conv1.weight'
    name = _same_resnet(shapes, stem, first=r'layer{stage}\.', deepmind=False)
    width = shapes[stem][0]
  else:
    raise ValueError(
      f'its names are those of no known network: {_some(shapes)}'
    )
  classes = shapes[f'{linear}.weight'][0]
  return Architecture(name, width, classes, shapes[stem][1])


def _some(names, most: int = 8) -> str:
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
    f'{what}: {_some(names)}'
    for what, names in (
      ('missing', [n for n in wanted if n not in shapes]),
      ('unexpected', [n for n in shapes if n not in wanted]),
      ('of another shape', wrong),
    )
    if names
  ]
  if said:
    raise ValueError('; '.join(said))
