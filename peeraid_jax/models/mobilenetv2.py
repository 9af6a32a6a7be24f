"""MobileNetV2 for small images.

Reference:
  Sandler et al., MobileNetV2, 2018; the small-image variant that adversarial
  distillation uses: ReLU instead of ReLU6, fewer strides, and a projection
  on every stride-1 shortcut whose width changes.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax.models import layers

# (expansion, channels, blocks, stride of the first block)
_STAGES = (
  (1, 16, 1, 1),
  (6, 24, 2, 1),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
  """Expand by 1x1, filter each channel by 3x3, project by 1x1."""

  expansion: int
  channels: int
  stride: int
  layers: layers.Layers

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layers
    wide = self.expansion * x.shape[-1]
    y = activate(norm(name='norm1')(conv(wide, 1, name='conv1')(x)))
    y = conv(wide, 3, self.stride, groups=wide, name='conv2')(y)
    y = activate(norm(name='norm2')(y))
    y = norm(name='norm3')(conv(self.channels, 1, name='conv3')(y))
    if self.stride != 1:
      return y
    if x.shape[-1] != self.channels:
      x = conv(self.channels, 1, name='shortcut_conv')(x)
      x = norm(name='shortcut_norm')(x)
    return x + y


class MobileNetV2(nn.Module):
  """Seven stages of inverted residuals between two plain convolutions.

  Attributes:
    num_classes: number of logits.
    width: 64 is the published network; other values scale all channels.
    dtype: of the computation.
    axis_name: mapped axis that batch statistics are averaged over, or None.
    normalization: (mean, std) of the images, or None.
    remat: as in `resnet.ResNet`.
  """

  num_classes: int
  width: int = 64
  dtype: Any = jnp.float32
  axis_name: str | None = None
  normalization: Any = None
  remat: bool = False

  @nn.compact
  def __call__(self, images, train: bool = False) -> layers.Output:
    made = layers.make_layers(
      self, train=train, kernel_init=layers.torch_default_init
    )
    stem = layers.scaled(32, self.width)
    x = made.conv(stem, 3, name='stem_conv')(layers.normalised(self, images))
    x = made.activate(made.norm(name='stem_norm')(x))
    block = layers.remat_if(self, InvertedResidual)
    for stage, (expansion, channels, blocks, stride) in enumerate(_STAGES):
      for index in range(blocks):
        x = block(
          expansion,
          layers.scaled(channels, self.width),
          stride if index == 0 else 1,
          made,
          name=f'stage{stage + 1}_block{index + 1}',
        )(x)
    x = made.conv(layers.scaled(1280, self.width), 1, name='last_conv')(x)
    x = made.activate(made.norm(name='last_norm')(x))
    return layers.head(x, self.num_classes)
