"""Layers that every network here shares, with PyTorch's conventions."""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from peeraid_jax.models import cpu_conv

# Flax's momentum 0.9 is PyTorch's 0.1.
BATCH_NORM_MOMENTUM = 0.9

# PyTorch's default for convolutions and linear layers, U(+-1/sqrt(fan_in)).
torch_default_init = nn.initializers.variance_scaling(
  1 / 3, 'fan_in', 'uniform'
)
# He et al. (2015) by fan-out, as WideResNets are initialised; not truncated.
he_fan_out_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Output(NamedTuple):
  """What a network says of a batch of images.

  Attributes:
    logits: float32 [B, num_classes].
    features: [B, h, w, channels], the last feature map.
    embedding: float32 [B, channels], its spatial mean.
  """

  logits: chex.Array
  features: chex.Array
  embedding: chex.Array


_stock = contextvars.ContextVar('stock_convolutions', default=False)


@contextlib.contextmanager
def stock_convolutions():
  """Networks traced inside have JAX's own convolutions on every backend.

  For programs that another machine runs, or whose work is counted.
  """
  token = _stock.set(True)
  try:
    yield
  finally:
    _stock.reset(token)


def are_stock() -> bool:
  """Says whether networks traced here have JAX's own convolutions."""
  return _stock.get()


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
  lean=False,
):
  """The stock convolution, in a form of our own on CPU; see `cpu_conv`.

  GPU and TPU recognise the stock gradients and map them to the vendor's own.
  """
  if jax.default_backend() == 'cpu' and not _stock.get():
    pads = tuple(tuple(p) for p in padding)
    return cpu_conv.conv(
      lhs, rhs, tuple(strides), pads, feature_group_count, lean=lean
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


class Layers(NamedTuple):
  """What a block is built of, made once and handed down.

  Attributes:
    conv: (channels, size, stride=1, groups=1, name=...) -> module; no bias.
    norm: (name=...) -> batch norm module.
    activate: the nonlinearity.
  """

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  activate: Callable[[chex.Array], chex.Array]


def make_layers(
  network, *, train: bool, kernel_init, deepmind: bool = False
) -> Layers:
  """Builds convolution, batch norm and nonlinearity for a call of a network.

  Args:
    network: its `dtype` is that of the computation, parameters and statistics
      are float32; its `axis_name` is the mapped axis that batch statistics
      are averaged over, or None.
    train: batch statistics if True, running ones if False.
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
      # Who has blocks computed again wants memory, not speed.
      conv_general_dilated=functools.partial(
        conv_general_dilated, lean=network.remat
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
  return Layers(conv, norm, nn.silu if deepmind else nn.relu)


def remat_if(network, block):
  """Returns a block that computes its inside again for the gradient.

  Args:
    network: its `remat` says whether.
    block: the class of a block.
  """
  return nn.remat(block) if network.remat else block


def normalised(network, images: chex.Array) -> chex.Array:
  """Returns what a network computes with, of images in [0, 1].

  Args:
    network: its `normalization` is (mean, std), each a number or one per
      channel, or None; its `dtype` is that of the computation.
    images: [B, H, W, C].
  """
  if network.normalization is not None:
    mean, std = (jnp.asarray(v, images.dtype) for v in network.normalization)
    images = (images - mean.reshape(1, 1, 1, -1)) / std.reshape(1, 1, 1, -1)
  return images.astype(network.dtype)


def _torch_bias_init(inputs: int):
  bound = 1 / math.sqrt(inputs)
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, -bound, bound
  )


def head(features: chex.Array, num_classes: int, *, zero_bias=False) -> Output:
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
  return Output(logits, features, embedding)


def scaled(channels: int, width: int) -> int:
  """Channels of a layer in a network whose base has `width` instead of 64."""
  return max(1, round(channels * width / 64))
