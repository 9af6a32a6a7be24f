"""ResNets: for small images a 3x3 stem and no max-pool, or ImageNet's stem.

References:
  He et al., Deep Residual Learning, 2016; Identity Mappings in Deep Residual
  Networks, 2016 (pre-activation). The variants are those of PeerAiD's model
  files, of Rice et al., Overfitting in Adversarially Robust Deep Learning,
  2020, and of Gowal et al., Improving Robustness using Generated Data, 2021.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from peeraid_jax.models import interface, layers


def _projected(block: layers.Block, x, channels: int):
  """The shortcut of post-activation blocks: projected if shapes differ."""
  if block.stride == 1 and x.shape[-1] == channels:
    return x
  conv, norm, _ = block.layer_set
  x = conv(channels, 1, block.stride, name='shortcut_conv')(x)
  return norm(name='shortcut_norm')(x)


class BasicBlock(layers.Block):
  """Two 3x3 convolutions, norm and ReLU after each."""

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layer_set
    y = conv(self.channels, 3, self.stride, name='conv1')(x)
    y = activate(norm(name='norm1')(y))
    y = norm(name='norm2')(conv(self.channels, 3, name='conv2')(y))
    return activate(_projected(self, x, self.channels) + y)


class Bottleneck(layers.Block):
  """1x1, 3x3 and 1x1 convolutions, the last four times as wide.

  The stride is in the 3x3 convolution, as in torchvision; the paper has it in
  the first 1x1 convolution.
  """

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layer_set
    y = activate(norm(name='norm1')(conv(self.channels, 1, name='conv1')(x)))
    y = conv(self.channels, 3, self.stride, name='conv2')(y)
    y = activate(norm(name='norm2')(y))
    y = norm(name='norm3')(conv(4 * self.channels, 1, name='conv3')(y))
    return activate(_projected(self, x, 4 * self.channels) + y)


class PreActBlock(layers.Block):
  """Norm and ReLU before each convolution; a bare convolution as shortcut.

  Attributes:
    activated_shortcut: the shortcut's convolution reads the activated input
      (Rice et al., AWP, AKD2) instead of the raw one (PeerAiD, RobustBench).
    shortcut_size: height and width of the shortcut's kernel.
  """

  activated_shortcut: bool = False
  shortcut_size: int = 1

  @nn.compact
  def __call__(self, x):
    conv, norm, activate = self.layer_set
    y = activate(norm(name='norm1')(x))
    if self.stride != 1 or x.shape[-1] != self.channels:
      source = y if self.activated_shortcut else x
      size = self.shortcut_size
      x = conv(self.channels, size, self.stride, name='shortcut_conv')(source)
    y = conv(self.channels, 3, self.stride, name='conv1')(y)
    y = activate(norm(name='norm2')(y))
    return x + conv(self.channels, 3, name='conv2')(y)


class ActivatedShortcutBlock(PreActBlock):
  """The pre-activation block of Rice et al. and of WideResNets."""

  activated_shortcut: bool = True


class WideShortcutBlock(PreActBlock):
  """The pre-activation block of DeepMind's ResNets."""

  shortcut_size: int = 3


class ResNet(interface.Network):
  """A stem, stages that halve the image and double the channels, a head.

  Attributes:
    stage_sizes: blocks per stage.
    block: class of the blocks.
    imagenet_stem: 7x7 at stride 2 and a max-pool at stride 2, as published,
      instead of 3x3.
    stem_norm: norm and ReLU after the stem (post-activation networks).
    final_norm: norm and ReLU before pooling.
    deepmind: the nonlinearity and padding of DeepMind's networks.
  """

  stage_sizes: tuple[int, ...]
  block: type[layers.Block] | Callable[..., nn.Module]
  imagenet_stem: bool = False
  stem_norm: bool = True
  final_norm: bool = False
  deepmind: bool = False

  @nn.compact
  def __call__(self, images, train: bool = False) -> interface.Output:
    layer_set = layers.layer_set(
      self, train, kernel_init=layers.torch_default_init, deepmind=self.deepmind
    )
    conv, norm, activate = layer_set
    size, stride = (7, 2) if self.imagenet_stem else (3, 1)
    x = layers.normalised(self, images)
    x = conv(self.width, size, stride, name='stem_conv')(x)
    if self.stem_norm:
      x = activate(norm(name='stem_norm')(x))
    if self.imagenet_stem:
      # After ReLU, padding by zeros equals padding by -inf, and every exporter
      # supports it.
      x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
      x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
    block = layers.remat_if(self, self.block)
    for index, count in enumerate(self.stage_sizes):
      x = layers.stage(
        block,
        x,
        name=f'stage{index + 1}',
        count=count,
        channels=self.width * 2**index,
        stride=2 if index > 0 else 1,
        layer_set=layer_set,
      )
    if self.final_norm:
      x = activate(norm(name='final_norm')(x))
    return layers.head(x, self.num_classes)
