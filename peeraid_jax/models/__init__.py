"""Networks by name.

`create` builds one; `register` adds a network from outside of the package:

    def my_net(*, num_classes, **settings):
      return MyNet(num_classes=num_classes, **settings)  # a models.Network

    peeraid_jax.models.register('my_net', my_net)
"""

import functools
import re
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax import registry
from peeraid_jax.models import interface, mobilenetv2, resnet, wideresnet

Network = interface.Network
Output = interface.Output
standalone = interface.standalone

# Channels of the networks as published; `width` scales them.
STANDARD_WIDTH = 64

# (num_classes=..., width=..., ...) -> module; see `register`.
Constructor = Callable[..., nn.Module]

MODELS: registry.Registry[Constructor] = registry.Registry('model')

# (mean, std) by which a network normalises images in [0, 1].
NORMALIZATIONS = {
  'none': None,
  'half': (0.5, 0.5),  # to [-1, 1]: AGKD-BML
  'cifar10': ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
  'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  'cifar100': ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def register(
  name: str, constructor: Constructor, *, replace: bool = False
) -> None:
  """Adds a network, so that configs and `create` can name it.

  Args:
    name: letters, digits, '_' and '-'.
    constructor: returns a Flax module for the keyword arguments num_classes,
      width, dtype, axis_name, normalization, remat and convolutions. They are
      the fields of `Network`, where their values and meanings are described;
      all but num_classes need a default. The module keeps them in fields of
      these names, as subclasses of `Network` do, and its
      `__call__(images, train=False)` returns an `Output` for images float32
      [B, H, W, C] in [0, 1]. Variables are in the collections 'params' and,
      for batch norm, 'batch_stats'.
    replace: allow a name that is taken.

  Raises:
    ValueError: the name is taken, or has other characters.
  """
  MODELS.register(name, constructor, replace=replace)


def get(name: str) -> Constructor:
  """Returns the constructor of a network.

  Args:
    name: in `MODELS`, which includes WideResNets of any depth and widening:
      'wideresnet16x4'.

  Raises:
    ValueError: unknown name; the known ones are listed.
  """
  return MODELS.get(name)


def normalization_of(name: str):
  """Returns (mean, std), or None, for a normalization as configs write it.

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
  convolutions: str = 'auto',
) -> nn.Module:
  """Creates a network.

  Called as `module.apply(variables, images, train=False) -> Output` with
  images float32 [B, H, W, C] in [0, 1].

  Args:
    name: as in `get`.
    num_classes: number of logits.
    width: base channels; 64 is the published network, and the other families
      scale all their channels by width / 64.
    dtype: data type of the computation, 'float32' or 'bfloat16'; parameters,
      batch statistics and logits are float32.
    axis_name: mapped axis that batch statistics are averaged over.
    normalization: as in `normalization_of`; a part of the network.
    remat: compute the inside of blocks again for the gradient.
    convolutions: 'auto', 'stock' or 'cpu', as in `Network`.

  Raises:
    ValueError: unknown name, dtype, normalization or convolutions, or a
      number out of range.
  """
  constructor = get(name)
  if dtype not in DTYPES and dtype not in DTYPES.values():
    raise ValueError(f'{dtype=} is unknown; known: {", ".join(DTYPES)}')
  if num_classes < 1 or width < 1:
    raise ValueError(f'{num_classes=} and {width=} should be at least 1')
  interface.check_convolutions(convolutions)
  return constructor(
    num_classes=num_classes,
    width=width,
    dtype=DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype,
    axis_name=axis_name,
    normalization=normalization_of(normalization),
    remat=remat,
    convolutions=convolutions,
  )


def _resnet(stage_sizes, block, **fields) -> Constructor:
  return functools.partial(
    resnet.ResNet, stage_sizes=stage_sizes, block=block, **fields
  )


def _wideresnet(depth: int, widen: int, *, deepmind=False) -> Constructor:
  return functools.partial(
    wideresnet.WideResNet, depth=depth, widen=widen, deepmind=deepmind
  )


_SIZES_18 = (2, 2, 2, 2)
_SIZES_34 = (3, 4, 6, 3)

_BUILT_IN = {
  'resnet18': _resnet(_SIZES_18, resnet.BasicBlock),
  'resnet34': _resnet(_SIZES_34, resnet.BasicBlock),
  'resnet50': _resnet(_SIZES_34, resnet.Bottleneck),
  # For 224x224 pixels.
  'resnet18_imagenet': _resnet(
    _SIZES_18, resnet.BasicBlock, imagenet_stem=True
  ),
  'resnet50_imagenet': _resnet(
    _SIZES_34, resnet.Bottleneck, imagenet_stem=True
  ),
  # PeerAiD's and RobustBench's: raw shortcuts, nothing before pooling.
  'preactresnet18': _resnet(_SIZES_18, resnet.PreActBlock, stem_norm=False),
  # Rice et al., AWP, AKD2: activated shortcuts and a final norm.
  'preactresnet18_rice': _resnet(
    _SIZES_18,
    resnet.ActivatedShortcutBlock,
    stem_norm=False,
    final_norm=True,
  ),
  # Gowal et al. (2021), Rebuffi et al., Rade: 3x3 shortcuts, SiLU.
  'dm_preactresnet18': _resnet(
    _SIZES_18,
    resnet.WideShortcutBlock,
    stem_norm=False,
    final_norm=True,
    deepmind=True,
  ),
  # The WideResNets of the papers; the families below hold all others.
  'wideresnet28x10': _wideresnet(28, 10),
  'wideresnet34x10': _wideresnet(34, 10),
  'wideresnet34x20': _wideresnet(34, 20),
  'wideresnet70x16': _wideresnet(70, 16),
  # Gowal et al. (2020), Rebuffi et al.
  'dm_wideresnet28x10': _wideresnet(28, 10, deepmind=True),
  'dm_wideresnet70x16': _wideresnet(70, 16, deepmind=True),
  'mobilenetv2': mobilenetv2.MobileNetV2,
  # Two blocks that compile in a second: for tests and for trying things out.
  'tiny': _resnet((1, 1), resnet.BasicBlock),
}

# Depths are 6 n + 4: three groups of n blocks with two convolutions each.
_DEPTHS = '|'.join(str(depth) for depth in range(10, 1000, 6))


def _wideresnet_of_match(match: re.Match[str]) -> Constructor:
  prefix, depth, widen = match.groups()
  return _wideresnet(int(depth), int(widen), deepmind=bool(prefix))


def _register_built_in() -> None:
  for name, constructor in _BUILT_IN.items():
    register(name, constructor)
  for prefix in ('', 'dm_'):
    MODELS.register_family(
      rf'({prefix})wideresnet({_DEPTHS})x([1-9]\d*)',
      _wideresnet_of_match,
      written=f'{prefix}wideresnet<depth>x<widen> (depth 6 n + 4)',
    )


_register_built_in()
