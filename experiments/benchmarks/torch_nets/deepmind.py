"""DeepMind's robust networks: SiLU, TensorFlow's padding, input scaling."""

import torch
from torch import nn
from torch.nn import functional

from experiments.benchmarks.torch_nets import layers


def _tensorflow_pad(x, stride):
  """Pads for a 3x3 convolution as TensorFlow's 'SAME' does for even sizes."""
  return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


def _normalised(x):
  """Normalises by CIFAR-10's mean and deviation, which no file contains."""
  mean = torch.tensor((0.4914, 0.4822, 0.4465)).view(1, 3, 1, 1)
  std = torch.tensor((0.2471, 0.2435, 0.2616)).view(1, 3, 1, 1)
  return (x - mean) / std


class DeepMindBlock(nn.Module):
  """A WideResNet's block; its projection shortcut reads the activated input."""

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.stride = stride
    self.batchnorm_0 = nn.BatchNorm2d(inputs)
    self.conv_0 = layers.conv(inputs, outputs, 3, stride, padding=0)
    self.batchnorm_1 = nn.BatchNorm2d(outputs)
    self.conv_1 = layers.conv(outputs, outputs, 3)
    if inputs != outputs:
      self.shortcut = layers.conv(inputs, outputs, 1, stride)

  def forward(self, x):
    y = functional.silu(self.batchnorm_0(x))
    if hasattr(self, 'shortcut'):
      x = self.shortcut(y)
    y = self.conv_0(_tensorflow_pad(y, self.stride))
    return x + self.conv_1(functional.silu(self.batchnorm_1(y)))


class DeepMindGroup(nn.Module):
  """The blocks of one resolution."""

  def __init__(self, count, inputs, outputs, stride):
    super().__init__()
    self.block = layers.stage(DeepMindBlock, count, inputs, outputs, stride)

  def forward(self, x):
    return self.block(x)


class DeepMindWideResNet(nn.Module):
  """WideResNet-depth-widen for CIFAR-10."""

  def __init__(self, depth, widen, classes):
    super().__init__()
    count = (depth - 4) // 6
    width = 16 * widen
    self.init_conv = layers.conv(3, 16, 3)
    self.layer = nn.Sequential(
      DeepMindGroup(count, 16, width, 1),
      DeepMindGroup(count, width, 2 * width, 2),
      DeepMindGroup(count, 2 * width, 4 * width, 2),
    )
    self.batchnorm = nn.BatchNorm2d(4 * width)
    self.logits = nn.Linear(4 * width, classes)

  def forward(self, x):
    x = self.layer(self.init_conv(_normalised(x)))
    return self.logits(functional.silu(self.batchnorm(x)).mean((2, 3)))


class DeepMindPreActBlock(nn.Module):
  """A PreActResNet's block; its 3x3 shortcut reads the raw input."""

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.stride = stride
    self.batchnorm_0 = nn.BatchNorm2d(inputs)
    self.conv_2d_1 = layers.conv(inputs, outputs, 3, stride, padding=0)
    self.batchnorm_1 = nn.BatchNorm2d(outputs)
    self.conv_2d_2 = layers.conv(outputs, outputs, 3)
    if stride != 1 or inputs != outputs:
      self.shortcut = layers.conv(inputs, outputs, 3, stride, padding=0)

  def forward(self, x):
    y = functional.silu(self.batchnorm_0(x))
    y = self.conv_2d_1(_tensorflow_pad(y, self.stride))
    y = self.conv_2d_2(functional.silu(self.batchnorm_1(y)))
    if hasattr(self, 'shortcut'):
      x = self.shortcut(_tensorflow_pad(x, self.stride))
    return x + y


class DeepMindPreActResNet(nn.Module):
  """PreActResNet-18 for CIFAR-10; `width` is that of the first stage."""

  def __init__(self, width, classes):
    super().__init__()
    self.conv_2d = layers.conv(3, width, 3)
    inputs = width
    for stage in range(4):
      outputs = width * 2**stage
      blocks = layers.stage(
        DeepMindPreActBlock, 2, inputs, outputs, 2 if stage else 1
      )
      setattr(self, f'layer_{stage}', blocks)
      inputs = outputs
    self.batchnorm = nn.BatchNorm2d(inputs)
    self.logits = nn.Linear(inputs, classes)

  def forward(self, x):
    x = self.conv_2d(_normalised(x))
    for stage in range(4):
      x = getattr(self, f'layer_{stage}')(x)
    return self.logits(functional.silu(self.batchnorm(x)).mean((2, 3)))
