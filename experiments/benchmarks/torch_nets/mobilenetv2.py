"""MobileNetV2 for 32x32 images, with the layer names of kuangliu's code."""

from torch import nn

from experiments.benchmarks.torch_nets import layers

# Of each stage, as in kuangliu's code for 32x32 images.
_EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
_CHANNELS = (16, 24, 32, 64, 96, 160, 320)
_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
_STRIDES = (1, 1, 2, 2, 1, 2, 1)


class Inverted(nn.Module):
  """Inverted residual block: 1x1 to more channels, depthwise 3x3, 1x1."""

  def __init__(self, inputs, outputs, expansion, stride):
    super().__init__()
    wide = expansion * inputs
    self.stride = stride
    self.conv1 = layers.conv(inputs, wide, 1)
    self.bn1 = nn.BatchNorm2d(wide)
    self.conv2 = layers.conv(wide, wide, 3, stride, groups=wide)
    self.bn2 = nn.BatchNorm2d(wide)
    self.conv3 = layers.conv(wide, outputs, 1)
    self.bn3 = nn.BatchNorm2d(outputs)
    self.shortcut = nn.Sequential()
    if stride == 1:
      self.shortcut = layers.projection(inputs, outputs, stride)

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
    return y + self.shortcut(x) if self.stride == 1 else y


class MobileNetV2(nn.Module):
  """The network; `classes` is the number of logits."""

  def __init__(self, classes):
    super().__init__()
    self.conv1 = layers.conv(3, 32, 3)
    self.bn1 = nn.BatchNorm2d(32)
    blocks, inputs = [], 32
    for expansion, outputs, count, stride in zip(
      _EXPANSIONS, _CHANNELS, _BLOCKS, _STRIDES, strict=True
    ):
      for index in range(count):
        blocks.append(
          Inverted(inputs, outputs, expansion, 1 if index else stride)
        )
        inputs = outputs
    self.layers = nn.Sequential(*blocks)
    self.conv2 = layers.conv(320, 1280, 1)
    self.bn2 = nn.BatchNorm2d(1280)
    self.linear = nn.Linear(1280, classes)

  def forward(self, x):
    x = self.layers(self.bn1(self.conv1(x)).relu())
    x = self.bn2(self.conv2(x)).relu()
    return self.linear(x.mean((2, 3)))
