"""Which network a PyTorch state dict is of, by its names and shapes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from peeraid_jax import models
from peeraid_jax.models import resnet
from peeraid_jax.torch_io import layouts


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
      f'fc.weight or logits.weight, but {layouts.some(shapes)}'
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
      f'its names are those of no known network: {layouts.some(shapes)}'
    )
  classes = shapes[f'{linear}.weight'][0]
  return Architecture(name, width, classes, shapes[stem][1])
