"""ResNets and pre-activation ResNets."""

from torch import nn
from torch.nn import functional

from experiments.benchmarks.torch_nets import layers


class Basic(nn.Module):
  """Two 3x3 convolutions and a shortcut, whose attribute has a given name."""

  def __init__(self, inputs, outputs, stride, shortcut='shortcut'):
    super().__init__()
    self.conv1 = layers.conv(inputs, outputs, 3, stride)
    self.bn1 = nn.BatchNorm2d(outputs)
    self.conv2 = layers.conv(outputs, outputs, 3)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.shortcut_name = shortcut
    setattr(self, shortcut, layers.projection(inputs, outputs, stride))

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    shortcut = getattr(self, self.shortcut_name)
    return (self.bn2(self.conv2(y)) + shortcut(x)).relu()


class Bottleneck(nn.Module):
  """1x1, 3x3 and 1x1 convolutions and a shortcut; widens by four."""

  def __init__(self, inputs, channels, stride, shortcut='shortcut'):
    super().__init__()
    outputs = 4 * channels
    self.conv1 = layers.conv(inputs, channels, 1)
    self.bn1 = nn.BatchNorm2d(channels)
    self.conv2 = layers.conv(channels, channels, 3, stride)
    self.bn2 = nn.BatchNorm2d(channels)
    self.conv3 = layers.conv(channels, outputs, 1)
    self.bn3 = nn.BatchNorm2d(outputs)
    self.shortcut_name = shortcut
    setattr(self, shortcut, layers.projection(inputs, outputs, stride))

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    y = self.bn2(self.conv2(y)).relu()
    shortcut = getattr(self, self.shortcut_name)
    return (self.bn3(self.conv3(y)) + shortcut(x)).relu()


class PreAct(nn.Module):
  """Norm and ReLU before each convolution.

  Args:
    inputs, outputs: channels.
    stride: stride of the first convolution and the shortcut.
    activated: the projection shortcut reads the activated input (Rice et al.)
      instead of the raw one (PeerAiD, RobustBench).
  """

  def __init__(self, inputs, outputs, stride, activated=False):
    super().__init__()
    self.bn1 = nn.BatchNorm2d(inputs)
    self.conv1 = layers.conv(inputs, outputs, 3, stride)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.conv2 = layers.conv(outputs, outputs, 3)
    self.activated = activated
    if stride != 1 or inputs != outputs:
      self.shortcut = nn.Sequential(layers.conv(inputs, outputs, 1, stride))

  def forward(self, x):
    y = self.bn1(x).relu()
    if hasattr(self, 'shortcut'):
      x = self.shortcut(y if self.activated else x)
    return x + self.conv2(self.bn2(self.conv1(y)).relu())


class ResNet(nn.Module):
  """A ResNet with the layer names of kuangliu's or torchvision's code.

  Args:
    sizes: blocks of each stage.
    width: channels of the first stage.
    classes: number of logits.
    kind: 'basic', 'bottleneck', 'preact' (raw shortcuts, no final norm) or
      'preact_rice' (activated shortcuts, final norm).
    imagenet: torchvision's layer names, and its stem for 224x224 images.
  """

  def __init__(self, sizes, width, classes, kind='basic', imagenet=False):
    super().__init__()
    self.imagenet = imagenet
    self.kind = kind
    self.conv1 = (
      layers.conv(3, width, 7, 2) if imagenet else layers.conv(3, width, 3)
    )
    if not kind.startswith('preact'):
      self.bn1 = nn.BatchNorm2d(width)
    inputs = width
    for stage, size in enumerate(sizes):
      blocks = []
      for index in range(size):
        channels = width * 2**stage
        stride = 2 if stage and not index else 1
        shortcut = 'downsample' if imagenet else 'shortcut'
        if kind == 'bottleneck':
          blocks.append(Bottleneck(inputs, channels, stride, shortcut))
          channels *= 4
        elif kind == 'basic':
          blocks.append(Basic(inputs, channels, stride, shortcut))
        else:
          blocks.append(PreAct(inputs, channels, stride, kind != 'preact'))
        inputs = channels
      setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
    self.stages = len(sizes)
    if kind == 'preact_rice':
      self.bn = nn.BatchNorm2d(inputs)
    setattr(self, 'fc' if imagenet else 'linear', nn.Linear(inputs, classes))

  def forward(self, x):
    x = self.conv1(x)
    if not self.kind.startswith('preact'):
      x = self.bn1(x).relu()
    if self.imagenet:
      x = functional.max_pool2d(x, 3, 2, 1)
    for stage in range(self.stages):
      x = getattr(self, f'layer{stage + 1}')(x)
    if self.kind == 'preact_rice':
      x = self.bn(x).relu()
    x = x.mean((2, 3))
    return (self.fc if self.imagenet else self.linear)(x)
