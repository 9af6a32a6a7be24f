"""ResNets: for small images a 3x3 stem and no max-pool, or ImageNet's stem.

References:
  He et al., Deep Residual Learning, 2016; Identity Mappings in Deep Residual
  Networks, 2016 (pre-activation). The variants are those of PeerAiD's model
  files, of Rice et al., Overfitting in Adversarially Robust Deep Learning,
  2020, and of Gowal et al., Improving Robustness using Generated Data, 2021.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax.models import layers


class BasicBlock(nn.Module):
  """Two 3x3 convolutions, norm and ReLU after each."""

  channels: int
  stride: int
  layers: layers.Layers

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layers
    y = conv(self.channels, 3, self.stride, name='conv1')(x)
    y = activate(norm(name='norm1')(y))
    y = norm(name='norm2')(conv(self.channels, 3, name='conv2')(y))
    if self.stride != 1 or x.shape[-1] != self.channels:
      x = conv(self.channels, 1, self.stride, name='shortcut_conv')(x)
      x = norm(name='shortcut_norm')(x)
    return activate(x + y)


class Bottleneck(nn.Module):
  """1x1, 3x3 and 1x1 convolutions, the last four times as wide."""

  channels: int
  stride: int
  layers: layers.Layers

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layers
    out = 4 * self.channels
    y = activate(norm(name='norm1')(conv(self.channels, 1, name='conv1')(x)))
    y = conv(self.channels, 3, self.stride, name='conv2')(y)
    y = activate(norm(name='norm2')(y))
    y = norm(name='norm3')(conv(out, 1, name='conv3')(y))
    if self.stride != 1 or x.shape[-1] != out:
      x = conv(out, 1, self.stride, name='shortcut_conv')(x)
      x = norm(name='shortcut_norm')(x)
    return activate(x + y)


class PreActBlock(nn.Module):
  """Norm and ReLU before each convolution; a bare convolution as shortcut.

  Attributes:
    activated_shortcut: the shortcut's convolution reads the activated input
      (Rice et al., AWP, AKD2) instead of the raw one (PeerAiD, RobustBench).
    shortcut_size: of the shortcut's kernel.
  """

  channels: int
  stride: int
  layers: layers.Layers
  activated_shortcut: bool = False
  shortcut_size: int = 1

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layers
    y = activate(norm(name='norm1')(x))
    if self.stride != 1 or x.shape[-1] != self.channels:
      source = y if self.activated_shortcut else x
      size = self.shortcut_size
      x = conv(self.channels, size, self.stride, name='shortcut_conv')(source)
    y = conv(self.channels, 3, self.stride, name='conv1')(y)
    y = activate(norm(name='norm2')(y))
    return x + conv(self.channels, 3, name='conv2')(y)


class ActivatedShortcutBlock(PreActBlock):
  """The pre-activation block of Rice et al."""

  activated_shortcut: bool = True


class WideShortcutBlock(PreActBlock):
  """The pre-activation block of DeepMind's networks."""

  shortcut_size: int = 3


class ResNet(nn.Module):
  """A stem, stages that halve the image and double the channels, a head.

  Attributes:
    num_classes: number of logits.
    stage_sizes: blocks per stage.
    block: (channels, stride, layers) -> module.
    width: channels of the first stage.
    imagenet_stem: 7x7 at stride 2 and a max-pool at stride 2, as published,
      instead of 3x3.
    stem_norm: norm and ReLU after the stem (post-activation networks).
    final_norm: norm and ReLU before pooling.
    deepmind: the nonlinearity and padding of DeepMind's networks.
    dtype: of the computation.
    axis_name: mapped axis that batch statistics are averaged over, or None.
    normalization: (mean, std) of the images, or None.
    remat: keep only what enters a block, and compute its inside again for the
      gradient: less memory, more work.
  """

  num_classes: int
  stage_sizes: tuple[int, ...]
  block: Callable[..., nn.Module]
  width: int = 64
  imagenet_stem: bool = False
  stem_norm: bool = True
  final_norm: bool = False
  deepmind: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None
  normalization: Any = None
  remat: bool = False

  @nn.compact
  def __call__(self, images, train: bool = False) -> layers.Output:
    made = layers.make_layers(
      self,
      train=train,
      kernel_init=layers.torch_default_init,
      deepmind=self.deepmind,
    )
    size, stride = (7, 2) if self.imagenet_stem else (3, 1)
    x = made.conv(self.width, size, stride, name='stem_conv')(
      layers.normalised(self, images)
    )
    if self.stem_norm:
      x = made.activate(made.norm(name='stem_norm')(x))
    if self.imagenet_stem:
      # After ReLU zeros pad as well as -inf, and every exporter knows them.
      x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
      x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
    block = layers.remat_if(self, self.block)
    for stage, size in enumerate(self.stage_sizes):
      for index in range(size):
        x = block(
          self.width * 2**stage,
          2 if stage > 0 and index == 0 else 1,
          made,
          name=f'stage{stage + 1}_block{index + 1}',
        )(x)
    if self.final_norm:
      x = made.activate(made.norm(name='final_norm')(x))
    return layers.head(x, self.num_classes)
