"""MobileNetV2 for small images.

Reference:
  Sandler et al., MobileNetV2, 2018; the small-image variant that adversarial
  distillation uses: ReLU instead of ReLU6, fewer strides, and a projection
  on every stride-1 shortcut whose width changes.
"""

import flax.linen as nn

from peeraid_jax.models import interface, layers

# Of each stage: (channels, blocks, stride of the first block).
_STAGES = (
  (16, 1, 1),
  (24, 2, 1),
  (32, 3, 2),
  (64, 4, 2),
  (96, 3, 1),
  (160, 3, 2),
  (320, 1, 1),
)
# Stage 1 filters its input's channels, the others six times as many.
_EXPANSIONS = (1,) + (6,) * 6


class InvertedResidual(layers.Block):
  """Expand by 1x1, filter each channel by 3x3, project by 1x1.

  Attributes:
    expansion: channels of the 3x3 filters by channels of the input.
  """

  expansion: int

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layer_set
    expanded = self.expansion * x.shape[-1]
    y = activate(norm(name='norm1')(conv(expanded, 1, name='conv1')(x)))
    y = conv(expanded, 3, self.stride, groups=expanded, name='conv2')(y)
    y = activate(norm(name='norm2')(y))
    y = norm(name='norm3')(conv(self.channels, 1, name='conv3')(y))
    if self.stride != 1:
      return y
    if x.shape[-1] != self.channels:
      x = conv(self.channels, 1, name='shortcut_conv')(x)
      x = norm(name='shortcut_norm')(x)
    return x + y


class MobileNetV2(interface.Network):
  """Seven stages of inverted residuals between two plain convolutions."""

  @nn.compact
  def __call__(self, images, train: bool = False) -> interface.Output:
    layer_set = layers.layer_set(
      self, train, kernel_init=layers.torch_default_init
    )
    conv, norm, activate = layer_set
    x = layers.normalised(self, images)
    x = conv(layers.scaled(32, self.width), 3, name='stem_conv')(x)
    x = activate(norm(name='stem_norm')(x))
    block = layers.remat_if(self, InvertedResidual)
    for index, (channels, count, stride) in enumerate(_STAGES):
      x = layers.stage(
        block,
        x,
        name=f'stage{index + 1}',
        count=count,
        channels=layers.scaled(channels, self.width),
        stride=stride,
        layer_set=layer_set,
        expansion=_EXPANSIONS[index],
      )
    x = conv(layers.scaled(1280, self.width), 1, name='last_conv')(x)
    x = activate(norm(name='last_norm')(x))
    return layers.head(x, self.num_classes)
