"""Wide residual networks.

References:
  Zagoruyko and Komodakis, Wide Residual Networks, 2016; as in TRADES' and
  PeerAiD's model files, without their unused block; and as in Gowal et al.,
  Uncovering the Limits of Adversarial Training, 2020.
"""

import flax.linen as nn

from peeraid_jax.models import interface, layers, resnet


class WideResNet(interface.Network):
  """Three groups of pre-activation blocks, `widen` times as wide as 16.

  Attributes:
    depth: 6 n + 4 layers.
    widen: widening factor.
    deepmind: the nonlinearity and padding of DeepMind's networks.
  """

  depth: int
  widen: int
  deepmind: bool = False

  @nn.compact
  def __call__(self, images, train: bool = False) -> interface.Output:
    layer_set = layers.layer_set(
      self, train, kernel_init=layers.he_fan_out_init, deepmind=self.deepmind
    )
    stem_channels = layers.scaled(16, self.width)
    x = layers.normalised(self, images)
    x = layer_set.conv(stem_channels, 3, name='stem_conv')(x)
    block = layers.remat_if(self, resnet.ActivatedShortcutBlock)
    for index in range(3):
      x = layers.stage(
        block,
        x,
        name=f'group{index + 1}',
        count=(self.depth - 4) // 6,
        channels=layers.scaled(16 * self.widen * 2**index, self.width),
        stride=1 if index == 0 else 2,
        layer_set=layer_set,
      )
    x = layer_set.activate(layer_set.norm(name='final_norm')(x))
    return layers.head(x, self.num_classes, zero_bias=True)
