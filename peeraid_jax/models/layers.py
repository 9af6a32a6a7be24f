"""The layers that networks consist of, with PyTorch's conventions."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from peeraid_jax.models import cpu_conv, interface

# Flax's momentum 0.9 is PyTorch's 0.1.
BATCH_NORM_MOMENTUM = 0.9

# PyTorch's default for convolutions and linear layers, U(+-1/sqrt(fan_in)).
torch_default_init = nn.initializers.variance_scaling(
  1 / 3, 'fan_in', 'uniform'
)
# He et al. (2015) by fan-out, as WideResNets are initialised; not truncated.
he_fan_out_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def conv_general_dilated(
  lhs,
  rhs,
  strides,
  padding,
  *,
  lhs_dilation=None,
  rhs_dilation=None,
  dimension_numbers=None,
  feature_group_count=1,
  precision=None,
  convolutions='auto',
  low_memory=False,
):
  """`jax.lax.conv_general_dilated`, or the same by a form of `cpu_conv`.

  GPU and TPU compilers recognise the gradients of JAX's own operation and map
  them to the vendor's kernels; so the other forms are for CPUs alone.

  Args:
    lhs, rhs, strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
      feature_group_count, precision: as in JAX. The forms of `cpu_conv` are
      for NHWC images without dilation.
    convolutions: as in `interface.Network`.
    low_memory: as in `cpu_conv.conv`.
  """
  if convolutions == 'auto':
    convolutions = 'cpu' if jax.default_backend() == 'cpu' else 'stock'
  if convolutions == 'cpu':
    pads = tuple(tuple(p) for p in padding)
    return cpu_conv.conv(
      lhs, rhs, tuple(strides), pads, feature_group_count, low_memory=low_memory
    )
  return jax.lax.conv_general_dilated(
    lhs,
    rhs,
    strides,
    padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
    dimension_numbers=dimension_numbers,
    feature_group_count=feature_group_count,
    precision=precision,
  )


class LayerSet(NamedTuple):
  """The layers of one call of a network, configured by its fields.

  Attributes:
    conv: (channels, size, stride=1, groups=1, name=...) -> module; no bias.
    norm: (name=...) -> batch norm module.
    activate: the nonlinearity.
  """

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  activate: Callable[[chex.Array], chex.Array]


class Block(nn.Module):
  """Base class of the blocks of which a network's stages consist.

  Attributes:
    channels: channels of the block's output, before any expansion of its own.
    stride: stride of the one convolution that may reduce the image.
    layer_set: from `layer_set`.
  """

  channels: int
  stride: int
  layer_set: LayerSet


def layer_set(
  network: interface.Network,
  train: bool,
  *,
  kernel_init,
  deepmind: bool = False,
) -> LayerSet:
  """Returns convolution, batch norm and nonlinearity for a network's call.

  Args:
    network: its dtype, axis_name, remat and convolutions configure the layers.
    train: batch norm uses batch statistics if True, running ones if False.
    kernel_init: initialiser of convolution kernels.
    deepmind: SiLU instead of ReLU, and TensorFlow's padding, which at stride
      2 is nothing above and on the left, instead of PyTorch's symmetric one.
  """

  def conv(channels, size, stride=1, groups=1, **kwargs):
    high = size // 2
    low = high if stride == 1 or not deepmind else 0
    return nn.Conv(
      channels,
      (size, size),
      (stride, stride),
      padding=((low, high), (low, high)),
      feature_group_count=groups,
      use_bias=False,
      dtype=network.dtype,
      kernel_init=kernel_init,
      # With remat, prefer low memory to speed.
      conv_general_dilated=functools.partial(
        conv_general_dilated,
        convolutions=network.convolutions,
        low_memory=network.remat,
      ),
      **kwargs,
    )

  norm = functools.partial(
    nn.BatchNorm,
    use_running_average=not train,
    momentum=BATCH_NORM_MOMENTUM,
    epsilon=1e-5,
    dtype=network.dtype,
    axis_name=network.axis_name,
  )
  return LayerSet(conv, norm, nn.silu if deepmind else nn.relu)


def normalised(network: interface.Network, images: chex.Array) -> chex.Array:
  """Normalises images as a network does first of all.

  Args:
    network: its `normalization` and `dtype` are applied.
    images: float32 [B, H, W, C] in [0, 1].

  Returns:
    [B, H, W, C] in the network's dtype.
  """
  if network.normalization is not None:
    mean, std = (jnp.asarray(v, images.dtype) for v in network.normalization)
    images = (images - mean.reshape(1, 1, 1, -1)) / std.reshape(1, 1, 1, -1)
  return images.astype(network.dtype)


def remat_if(network: interface.Network, block: type[Block]) -> type[Block]:
  """Returns the class of a network's blocks, with remat if it asks for it."""
  return nn.remat(block) if network.remat else block


def stage(
  block: Callable[..., nn.Module],
  x: chex.Array,
  *,
  name: str,
  count: int,
  channels: int,
  stride: int,
  layer_set: LayerSet,
  **fields,
) -> chex.Array:
  """Applies the blocks of one stage; called inside a module.

  Args:
    block: class of the blocks, as of `remat_if`.
    x: [B, h, w, channels], the stage's input.
    name: the stage's name; blocks are called <name>_block1, <name>_block2, ...
    count: number of blocks.
    channels, layer_set: as in `Block`.
    stride: stride of the first block; the others have 1.
    **fields: further fields of the block's class.
  """
  for index in range(count):
    x = block(
      channels,
      stride if index == 0 else 1,
      layer_set,
      **fields,
      name=f'{name}_block{index + 1}',
    )(x)
  return x


def _torch_bias_init(inputs: int):
  """PyTorch's default initialiser of a linear layer's bias."""
  bound = 1 / math.sqrt(inputs)
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, -bound, bound
  )


def head(
  features: chex.Array, num_classes: int, *, zero_bias=False
) -> interface.Output:
  """Spatial mean and linear layer in float32; called inside a module.

  Args:
    features: [B, h, w, channels].
    num_classes: number of logits.
    zero_bias: start the bias at 0 (WideResNet) instead of PyTorch's default.
  """
  embedding = features.astype(jnp.float32).mean(axis=(1, 2))
  bias_init = nn.initializers.zeros
  if not zero_bias:
    bias_init = _torch_bias_init(embedding.shape[-1])
  logits = nn.Dense(
    num_classes,
    kernel_init=torch_default_init,
    bias_init=bias_init,
    name='linear',
  )(embedding)
  return interface.Output(logits, features, embedding)


def scaled(channels: int, width: int) -> int:
  """Returns the channels of a layer in a network of base `width`.

  Args:
    channels: the layer's channels in the published network, whose base
      width is 64.
    width: base channels.
  """
  return max(1, round(channels * width / 64))
