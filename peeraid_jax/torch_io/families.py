"""The families of networks in PyTorch's repositories, one entry for each.

An entry says how the family names its parameters, and how its members are
told apart in a file. They are kuangliu's ResNets and MobileNetV2 (PeerAiD,
RSLAD, and most of RobustBench), torchvision's ResNets, TRADES' WideResNet (LTD,
AWP, AGKD-BML) and DeepMind's networks. To read and write networks of another
family, register one more:

    families.FAMILIES.register('my family', families.Family(...))
"""

import collections
import functools
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn

from peeraid_jax import models, registry
from peeraid_jax.models import mobilenetv2, resnet, wideresnet

# Name in PyTorch -> shape in PyTorch.
Shapes = Mapping[str, tuple[int, ...]]

# Layers here that every family has: the first convolution, and the last layer.
STEM = 'stem_conv'
CLASSIFIER = 'linear'


class Family(NamedTuple):
  """A family of networks that name their parameters alike.

  Attributes:
    contains: Flax module -> whether it belongs to the family.
    layers: name of a layer here -> its name in PyTorch; `STEM` and
      `CLASSIFIER` are required. A numbered layer of a block ('norm2') may also
      be renamed by its kind ('norm' -> 'bn': 'bn2'). Layers that are not
      listed have the same name in both.
    block: name in PyTorch of a block, which is 'stage<i>_block<j>' or
      'group<i>_block<j>' here. Fields: `{stage}`, counted from 1, or
      `{stage_from_0}`; `{index}` in the stage, counted from 0, at the end; or
      `{running}`, the index among all blocks, counted from 0.
    first_kernel: name in PyTorch of the first kernel of the first block. A
      file that has it and the stem is of this family.
    identify: (shapes, family) -> (name of the architecture, base width).
    normalizations: number of classes -> normalization, for networks on RGB
      images whose code normalises images by numbers that are not in their
      files. None: files hold the numbers, or images are used unchanged.
  """

  contains: Callable[[nn.Module], bool]
  layers: Mapping[str, str]
  block: str
  first_kernel: str
  identify: Callable[[Shapes, 'Family'], tuple[str, int]]
  normalizations: Mapping[int, str] | None = None

  def weight(self, layer: str) -> str:
    """Returns the name in PyTorch of the weight of a layer outside blocks."""
    return f'{self.layers[layer]}.weight'


FAMILIES: registry.Registry[Family] = registry.Registry('family of networks')
"""Name -> family; the first that fits a file is taken."""


def of_module(module: nn.Module) -> Family:
  """Returns the family of a Flax module.

  Raises:
    ValueError: PyTorch's repositories have no such network.
  """
  for _, family in FAMILIES.items():
    if family.contains(module):
      return family
  raise no_layout(module)


def no_layout(module: nn.Module) -> ValueError:
  """Returns the error for a module that has no layout in PyTorch."""
  return ValueError(
    f"PyTorch's repositories have no network like {type(module).__name__}; "
    'use stablehlo or onnx'
  )


def _stage_sizes(shapes: Shapes, family: Family) -> tuple[int, ...]:
  """Counts the blocks of each stage, in one pass over the names."""
  pattern = re.escape(family.block)
  # '{stage}' and '{stage_from_0}' become a number; so does the index.
  pattern = re.sub(r'\\{stage\w*\\}', '([0-9]{1,4})', pattern)
  pattern = re.sub(r'\\{index\\}', '([0-9]{1,4})', pattern) + r'\.'
  matches = (re.match(pattern, name) for name in shapes)
  blocks = {(int(m[1]), int(m[2])) for m in matches if m}
  sizes = collections.Counter(stage for stage, _ in blocks)
  first = 0 if '{stage_from_0}' in family.block else 1
  found: list[int] = []
  while sizes[first + len(found)]:
    found.append(sizes[first + len(found)])
  return tuple(found)


def _identify_resnet(
  shapes: Shapes, family: Family, *, deepmind: bool = False
) -> tuple[str, int]:
  """Finds the registered ResNet that has the blocks and norms of a file."""

  def has(layer: str) -> bool:
    return layer in family.layers and family.weight(layer) in shapes

  stem = shapes[family.weight(STEM)]
  traits = {
    'stage_sizes': _stage_sizes(shapes, family),
    'deepmind': deepmind,
    'stem_norm': has('stem_norm'),
    'final_norm': has('final_norm'),
    'imagenet_stem': stem[-1] == 7,
    'bottleneck': any(name.endswith('.conv3.weight') for name in shapes),
  }
  for name in models.MODELS:
    module = models.create(name, num_classes=1)
    if isinstance(module, resnet.ResNet) and traits == {
      **{trait: getattr(module, trait, None) for trait in traits},
      'bottleneck': module.block is resnet.Bottleneck,
    }:
      return name, stem[0]
  raise ValueError(
    f'a ResNet with {str(traits)[:300]} is none of {", ".join(models.MODELS)}'
  )


def _identify_wideresnet(
  shapes: Shapes, family: Family, *, prefix: str = ''
) -> tuple[str, int]:
  """Reads depth and widening off a WideResNet's blocks and kernels."""
  depth = 6 * _stage_sizes(shapes, family)[0] + 4
  stem_channels = shapes[family.weight(STEM)][0]
  widen = max(1, round(shapes[family.first_kernel][0] / stem_channels))
  # The stem of the published network, whose base width is 64, has 16 channels.
  return f'{prefix}wideresnet{depth}x{widen}', stem_channels * 4


def _identify_mobilenet(shapes: Shapes, family: Family) -> tuple[str, int]:
  """Reads the width off MobileNetV2's stem: 32 channels at base width 64."""
  return 'mobilenetv2', 2 * shapes[family.weight(STEM)][0]


def _is_resnet(module, *, deepmind: bool, imagenet_stem: bool | None) -> bool:
  """Whether a module is a ResNet of one kind; None: either stem."""
  return (
    isinstance(module, resnet.ResNet)
    and module.deepmind == deepmind
    and imagenet_stem in (None, module.imagenet_stem)
  )


def _is_wideresnet(module, *, deepmind: bool) -> bool:
  return (
    isinstance(module, wideresnet.WideResNet) and module.deepmind == deepmind
  )


_partial = functools.partial
_KUANGLIU_LAYERS = {
  STEM: 'conv1',
  'stem_norm': 'bn1',
  'norm': 'bn',
  'shortcut_conv': 'shortcut.0',
  'shortcut_norm': 'shortcut.1',
  'final_norm': 'bn',
  CLASSIFIER: 'linear',
}
_DEEPMIND_WIDE_LAYERS = {
  STEM: 'init_conv',
  'norm1': 'batchnorm_0',
  'conv1': 'conv_0',
  'norm2': 'batchnorm_1',
  'conv2': 'conv_1',
  'shortcut_conv': 'shortcut',
  'final_norm': 'batchnorm',
  CLASSIFIER: 'logits',
}
_DEEPMIND_NORMALIZATIONS = {10: 'cifar10', 100: 'cifar100'}

FAMILIES.register(
  'wideresnet',
  Family(
    contains=_partial(_is_wideresnet, deepmind=False),
    layers={
      STEM: 'conv1',
      'norm': 'bn',
      'shortcut_conv': 'convShortcut',
      'final_norm': 'bn1',
      CLASSIFIER: 'fc',
    },
    block='block{stage}.layer.{index}',
    first_kernel='block1.layer.0.conv1.weight',
    identify=_identify_wideresnet,
  ),
)
FAMILIES.register(
  'deepmind_wideresnet',
  Family(
    contains=_partial(_is_wideresnet, deepmind=True),
    layers=_DEEPMIND_WIDE_LAYERS,
    block='layer.{stage_from_0}.block.{index}',
    first_kernel='layer.0.block.0.conv_0.weight',
    identify=_partial(_identify_wideresnet, prefix='dm_'),
    normalizations=_DEEPMIND_NORMALIZATIONS,
  ),
)
FAMILIES.register(
  'deepmind_resnet',
  Family(
    contains=_partial(_is_resnet, deepmind=True, imagenet_stem=None),
    layers=_DEEPMIND_WIDE_LAYERS
    | {STEM: 'conv_2d', 'conv1': 'conv_2d_1', 'conv2': 'conv_2d_2'},
    block='layer_{stage_from_0}.{index}',
    first_kernel='layer_0.0.conv_2d_1.weight',
    identify=_partial(_identify_resnet, deepmind=True),
    normalizations=_DEEPMIND_NORMALIZATIONS,
  ),
)
FAMILIES.register(
  'mobilenet',
  Family(
    contains=lambda module: isinstance(module, mobilenetv2.MobileNetV2),
    layers=_KUANGLIU_LAYERS | {'last_conv': 'conv2', 'last_norm': 'bn2'},
    block='layers.{running}',
    first_kernel='layers.0.conv1.weight',
    identify=_identify_mobilenet,
  ),
)
FAMILIES.register(
  'resnet',
  Family(
    contains=_partial(_is_resnet, deepmind=False, imagenet_stem=False),
    layers=_KUANGLIU_LAYERS,
    block='layer{stage}.{index}',
    first_kernel='layer1.0.conv1.weight',
    identify=_identify_resnet,
  ),
)
FAMILIES.register(
  'torchvision_resnet',
  Family(
    contains=_partial(_is_resnet, deepmind=False, imagenet_stem=True),
    layers=_KUANGLIU_LAYERS
    | {
      'shortcut_conv': 'downsample.0',
      'shortcut_norm': 'downsample.1',
      CLASSIFIER: 'fc',
    },
    block='layer{stage}.{index}',
    first_kernel='layer1.0.conv1.weight',
    identify=_identify_resnet,
  ),
)
