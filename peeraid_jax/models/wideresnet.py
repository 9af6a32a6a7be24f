"""Wide residual networks.

Reference:
  Zagoruyko and Komodakis, Wide Residual Networks, 2016; as in TRADES' and
  PeerAiD's model files, without their unused block; and as in Gowal et al.,
  Uncovering the Limits of Adversarial Training, 2020.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax.models import layers


class WideBlock(nn.Module):
  """Pre-activation block; where the width changes, so does the shortcut."""

  channels: int
  stride: int
  layers: layers.Layers

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layers
    y = activate(norm(name='norm1')(x))
    if x.shape[-1] != self.channels:
      # The projection reads the activated input.
      x = conv(self.channels, 1, self.stride, name='shortcut_conv')(y)
    y = conv(self.channels, 3, self.stride, name='conv1')(y)
    y = activate(norm(name='norm2')(y))
    return x + conv(self.channels, 3, name='conv2')(y)


class WideResNet(nn.Module):
  """Three groups of pre-activation blocks, `widen` times as wide as 16.

  Attributes:
    num_classes: number of logits.
    depth: 6 n + 4 layers.
    widen: widening factor.
    width: 64 is the published network; other values scale all channels.
    deepmind: the nonlinearity and padding of DeepMind's networks.
    dtype: of the computation.
    axis_name: mapped axis that batch statistics are averaged over, or None.
    normalization: (mean, std) of the images, or None.
    remat: as in `resnet.ResNet`.
  """

  num_classes: int
  depth: int
  widen: int
  width: int = 64
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
      kernel_init=layers.he_fan_out_init,
      deepmind=self.deepmind,
    )
    stem = layers.scaled(16, self.width)
    x = made.conv(stem, 3, name='stem_conv')(layers.normalised(self, images))
    block = layers.remat_if(self, WideBlock)
    for group in range(3):
      channels = layers.scaled(16 * self.widen * 2**group, self.width)
      for index in range((self.depth - 4) // 6):
        x = block(
          channels,
          2 if group > 0 and index == 0 else 1,
          made,
          name=f'group{group + 1}_block{index + 1}',
        )(x)
    x = made.activate(made.norm(name='final_norm')(x))
    return layers.head(x, self.num_classes, zero_bias=True)
