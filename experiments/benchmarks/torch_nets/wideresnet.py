"""WideResNets with the layer names of TRADES' code."""

from torch import nn

from experiments.benchmarks.torch_nets import layers


class WideBlock(nn.Module):
  """Norm and ReLU before each convolution.

  A projection shortcut reads the activated input, an identity the raw one.
  """

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.bn1 = nn.BatchNorm2d(inputs)
    self.conv1 = layers.conv(inputs, outputs, 3, stride)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.conv2 = layers.conv(outputs, outputs, 3)
    if inputs != outputs:
      self.convShortcut = layers.conv(inputs, outputs, 1, stride)

  def forward(self, x):
    y = self.bn1(x).relu()
    if hasattr(self, 'convShortcut'):
      x = self.convShortcut(y)
    return x + self.conv2(self.bn2(self.conv1(y)).relu())


class Group(nn.Module):
  """The blocks of one resolution."""

  def __init__(self, count, inputs, outputs, stride):
    super().__init__()
    self.layer = layers.stage(WideBlock, count, inputs, outputs, stride)

  def forward(self, x):
    return self.layer(x)


class WideResNet(nn.Module):
  """A WideResNet.

  Args:
    depth, widen: as in its name, WideResNet-depth-widen.
    classes: number of logits.
    dead: add the group `sub_block1`, which TRADES' code creates and never
      calls; its parameters are in the state dicts.
  """

  def __init__(self, depth, widen, classes, dead=False):
    super().__init__()
    count = (depth - 4) // 6
    width = 16 * widen
    self.conv1 = layers.conv(3, 16, 3)
    self.block1 = Group(count, 16, width, 1)
    if dead:
      self.sub_block1 = Group(count, 16, width, 1)
    self.block2 = Group(count, width, 2 * width, 2)
    self.block3 = Group(count, 2 * width, 4 * width, 2)
    self.bn1 = nn.BatchNorm2d(4 * width)
    self.fc = nn.Linear(4 * width, classes)

  def forward(self, x):
    x = self.block3(self.block2(self.block1(self.conv1(x))))
    return self.fc(self.bn1(x).relu().mean((2, 3)))


class Projected(nn.Module):
  """AGKD-BML's wrapper: an encoder and a projection head.

  Only AGKD-BML's loss uses the head; the logits do not depend on it.
  """

  def __init__(self, encoder):
    super().__init__()
    self.encoder = encoder
    self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

  def forward(self, x):
    return self.encoder(x)
