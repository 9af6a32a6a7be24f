"""Networks by name."""

import functools
import re

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax.models import layers, mobilenetv2, resnet, wideresnet

Output = layers.Output

# Channels of the networks as published; `width` scales them.
STANDARD_WIDTH = 64

_partial = functools.partial
_pre_act = _partial(
  resnet.ResNet, stage_sizes=(2, 2, 2, 2), block=resnet.PreActBlock
)

MODELS = {
  'resnet18': _partial(
    resnet.ResNet, stage_sizes=(2, 2, 2, 2), block=resnet.BasicBlock
  ),
  'resnet34': _partial(
    resnet.ResNet, stage_sizes=(3, 4, 6, 3), block=resnet.BasicBlock
  ),
  'resnet50': _partial(
    resnet.ResNet, stage_sizes=(3, 4, 6, 3), block=resnet.Bottleneck
  ),
  # For 224x224 pixels; the stride of a bottleneck is in its 3x3 convolution.
  'resnet18_imagenet': _partial(
    resnet.ResNet,
    stage_sizes=(2, 2, 2, 2),
    block=resnet.BasicBlock,
    imagenet_stem=True,
  ),
  'resnet50_imagenet': _partial(
    resnet.ResNet,
    stage_sizes=(3, 4, 6, 3),
    block=resnet.Bottleneck,
    imagenet_stem=True,
  ),
  # PeerAiD's and RobustBench's: raw shortcuts, nothing before pooling.
  'preactresnet18': _partial(_pre_act, stem_norm=False),
  # Rice et al., AWP, AKD2: activated shortcuts and a final norm.
  'preactresnet18_rice': _partial(
    _pre_act,
    block=resnet.ActivatedShortcutBlock,
    stem_norm=False,
    final_norm=True,
  ),
  # Gowal et al. (2021), Rebuffi et al., Rade: 3x3 shortcuts, SiLU.
  'dm_preactresnet18': _partial(
    _pre_act,
    block=resnet.WideShortcutBlock,
    stem_norm=False,
    final_norm=True,
    deepmind=True,
  ),
  # Others by the same pattern: wideresnet<depth>x<widening>.
  **{
    f'{maker}wideresnet{depth}x{widen}': _partial(
      wideresnet.WideResNet, depth=depth, widen=widen, deepmind=bool(maker)
    )
    for maker, depth, widen in (
      ('', 28, 10),
      ('', 34, 10),
      ('', 34, 20),
      ('', 70, 16),
      # Gowal et al. (2020), Rebuffi et al.
      ('dm_', 28, 10),
      ('dm_', 70, 16),
    )
  },
  'mobilenetv2': mobilenetv2.MobileNetV2,
  # Two blocks that compile in a second: for tests and for trying things out.
  'tiny': _partial(resnet.ResNet, stage_sizes=(1, 1), block=resnet.BasicBlock),
}

# (mean, std) of what a network makes of images in [0, 1].
NORMALIZATIONS = {
  'none': None,
  'half': (0.5, 0.5),  # to [-1, 1]: AGKD-BML
  'cifar10': ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
  'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  'cifar100': ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}

_WIDE = re.compile(r'(dm_)?wideresnet(\d+)x(\d+)')


def get(name: str):
  """Returns the constructor of a network: a key of `MODELS`, or a WideResNet.

  Raises:
    ValueError: unknown name.
  """
  if name in MODELS:
    return MODELS[name]
  match = _WIDE.fullmatch(name)
  if match and int(match[2]) % 6 == 4 and int(match[2]) > 4 and int(match[3]):
    return _partial(
      wideresnet.WideResNet,
      depth=int(match[2]),
      widen=int(match[3]),
      deepmind=bool(match[1]),
    )
  raise ValueError(
    f'model {name!r} is unknown; known: {", ".join(MODELS)}, and WideResNets '
    'of other depths (6 n + 4) and widenings'
  )


def normalization_of(name: str):
  """Returns (mean, std), or None, of what `create` calls a normalization.

  Args:
    name: a key of `NORMALIZATIONS`; or numbers, one or one per channel, as
      'mean,mean,mean/std,std,std'.

  Raises:
    ValueError: neither.
  """
  if name in NORMALIZATIONS:
    return NORMALIZATIONS[name]
  try:
    mean, std = (
      tuple(float(v) for v in part.split(',')) for part in name.split('/')
    )
    if len(mean) == len(std) and min(std) > 0:
      return mean, std
  except (ValueError, AttributeError):
    pass
  raise ValueError(
    f'normalization={name!r} is unknown; known: {", ".join(NORMALIZATIONS)}, '
    "and numbers, as 'mean,mean,mean/std,std,std'"
  )


def create(
  name: str,
  *,
  num_classes: int,
  width: int = STANDARD_WIDTH,
  dtype='float32',
  axis_name: str | None = None,
  normalization: str = 'none',
  remat: bool = False,
) -> nn.Module:
  """Creates a network.

  Called as `module.apply(variables, images, train=False) -> Output` with
  images float32 [B, H, W, C] in [0, 1].

  Args:
    name: as of `get`.
    num_classes: number of logits.
    width: base channels; 64 is the published network, and the other families
      scale all their channels by width / 64.
    dtype: of the computation, 'float32' or 'bfloat16'; parameters, batch
      statistics and logits are float32.
    axis_name: mapped axis that batch statistics are averaged over.
    normalization: as of `normalization_of`; a part of the network.
    remat: compute the inside of blocks again for the gradient.

  Raises:
    ValueError: unknown name, dtype or normalization, or a number out of
      range.
  """
  constructor = get(name)
  if dtype not in DTYPES and dtype not in DTYPES.values():
    raise ValueError(f'{dtype=} is unknown; known: {", ".join(DTYPES)}')
  if num_classes < 1 or width < 1:
    raise ValueError(f'{num_classes=} and {width=} should be at least 1')
  return constructor(
    num_classes=num_classes,
    width=width,
    dtype=DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype,
    axis_name=axis_name,
    normalization=normalization_of(normalization),
    remat=remat,
  )
