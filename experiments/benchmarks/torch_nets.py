"""The field's networks in PyTorch, written for these tests.

Only the names of the layers, and what is computed, are those of the
repositories; parameters and statistics are filled at random.
"""

import torch
from torch import nn
from torch.nn import functional


def _conv(inputs, outputs, size, stride=1, groups=1, padding=None):
  padding = size // 2 if padding is None else padding
  return nn.Conv2d(
    inputs, outputs, size, stride, padding, groups=groups, bias=False
  )


def _shortcut(inputs, outputs, stride):
  """Nothing, or a projection with norm where shapes differ."""
  if stride == 1 and inputs == outputs:
    return nn.Sequential()
  return nn.Sequential(
    _conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
  )


class Basic(nn.Module):
  def __init__(self, inputs, outputs, stride, shortcut='shortcut'):
    super().__init__()
    self.conv1 = _conv(inputs, outputs, 3, stride)
    self.bn1 = nn.BatchNorm2d(outputs)
    self.conv2 = _conv(outputs, outputs, 3)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.which = shortcut
    setattr(self, shortcut, _shortcut(inputs, outputs, stride))

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    return (self.bn2(self.conv2(y)) + getattr(self, self.which)(x)).relu()


class Bottleneck(nn.Module):
  def __init__(self, inputs, channels, stride, shortcut='shortcut'):
    super().__init__()
    outputs = 4 * channels
    self.conv1 = _conv(inputs, channels, 1)
    self.bn1 = nn.BatchNorm2d(channels)
    self.conv2 = _conv(channels, channels, 3, stride)
    self.bn2 = nn.BatchNorm2d(channels)
    self.conv3 = _conv(channels, outputs, 1)
    self.bn3 = nn.BatchNorm2d(outputs)
    self.which = shortcut
    setattr(self, shortcut, _shortcut(inputs, outputs, stride))

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    y = self.bn2(self.conv2(y)).relu()
    return (self.bn3(self.conv3(y)) + getattr(self, self.which)(x)).relu()


class PreAct(nn.Module):
  def __init__(self, inputs, outputs, stride, activated=False):
    super().__init__()
    self.bn1 = nn.BatchNorm2d(inputs)
    self.conv1 = _conv(inputs, outputs, 3, stride)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.conv2 = _conv(outputs, outputs, 3)
    self.activated = activated
    if stride != 1 or inputs != outputs:
      self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, stride))

  def forward(self, x):
    y = self.bn1(x).relu()
    if hasattr(self, 'shortcut'):
      x = self.shortcut(y if self.activated else x)
    return x + self.conv2(self.bn2(self.conv1(y)).relu())


class ResNet(nn.Module):
  """kuangliu's; torchvision's with `imagenet`; pre-activation ones."""

  def __init__(self, sizes, width, classes, kind='basic', imagenet=False):
    super().__init__()
    self.imagenet = imagenet
    self.kind = kind
    self.conv1 = nn.Conv2d(
      3,
      width,
      7 if imagenet else 3,
      2 if imagenet else 1,
      3 if imagenet else 1,
      bias=False,
    )
    if not kind.startswith('preact'):
      self.bn1 = nn.BatchNorm2d(width)
    inputs = width
    for stage, size in enumerate(sizes):
      blocks = []
      for index in range(size):
        channels = width * 2**stage
        stride = 2 if stage and not index else 1
        way = 'downsample' if imagenet else 'shortcut'
        if kind == 'bottleneck':
          blocks.append(Bottleneck(inputs, channels, stride, way))
          channels *= 4
        elif kind == 'basic':
          blocks.append(Basic(inputs, channels, stride, way))
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


class WideBlock(nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.bn1 = nn.BatchNorm2d(inputs)
    self.conv1 = _conv(inputs, outputs, 3, stride)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.conv2 = _conv(outputs, outputs, 3)
    if inputs != outputs:
      self.convShortcut = _conv(inputs, outputs, 1, stride)

  def forward(self, x):
    y = self.bn1(x).relu()
    if hasattr(self, 'convShortcut'):
      x = self.convShortcut(y)
    return x + self.conv2(self.bn2(self.conv1(y)).relu())


class Group(nn.Module):
  def __init__(self, count, inputs, outputs, stride):
    super().__init__()
    self.layer = nn.Sequential(
      *[
        WideBlock(inputs if not i else outputs, outputs, 1 if i else stride)
        for i in range(count)
      ]
    )

  def forward(self, x):
    return self.layer(x)


class WideResNet(nn.Module):
  """TRADES'; with `dead`, the block that it never calls."""

  def __init__(self, depth, widen, classes, dead=False):
    super().__init__()
    count = (depth - 4) // 6
    w = 16 * widen
    self.conv1 = _conv(3, 16, 3)
    self.block1 = Group(count, 16, w, 1)
    if dead:
      self.sub_block1 = Group(count, 16, w, 1)
    self.block2 = Group(count, w, 2 * w, 2)
    self.block3 = Group(count, 2 * w, 4 * w, 2)
    self.bn1 = nn.BatchNorm2d(4 * w)
    self.fc = nn.Linear(4 * w, classes)

  def forward(self, x):
    x = self.block3(self.block2(self.block1(self.conv1(x))))
    return self.fc(self.bn1(x).relu().mean((2, 3)))


class Projected(nn.Module):
  """AGKD-BML's: an encoder, and a head that only its loss looks at."""

  def __init__(self, encoder):
    super().__init__()
    self.encoder = encoder
    self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

  def forward(self, x):
    return self.encoder(x)


class Inverted(nn.Module):
  def __init__(self, inputs, outputs, expansion, stride):
    super().__init__()
    wide = expansion * inputs
    self.stride = stride
    self.conv1 = _conv(inputs, wide, 1)
    self.bn1 = nn.BatchNorm2d(wide)
    self.conv2 = _conv(wide, wide, 3, stride, groups=wide)
    self.bn2 = nn.BatchNorm2d(wide)
    self.conv3 = _conv(wide, outputs, 1)
    self.bn3 = nn.BatchNorm2d(outputs)
    self.shortcut = nn.Sequential()
    if stride == 1:
      self.shortcut = _shortcut(inputs, outputs, stride)

  def forward(self, x):
    y = self.bn1(self.conv1(x)).relu()
    y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
    return y + self.shortcut(x) if self.stride == 1 else y


class MobileNetV2(nn.Module):
  """kuangliu's."""

  def __init__(self, classes):
    super().__init__()
    self.conv1 = _conv(3, 32, 3)
    self.bn1 = nn.BatchNorm2d(32)
    blocks, inputs = [], 32
    for expansion, outputs, count, stride in (
      (1, 16, 1, 1),
      (6, 24, 2, 1),
      (6, 32, 3, 2),
      (6, 64, 4, 2),
      (6, 96, 3, 1),
      (6, 160, 3, 2),
      (6, 320, 1, 1),
    ):
      for index in range(count):
        blocks.append(
          Inverted(inputs, outputs, expansion, 1 if index else stride)
        )
        inputs = outputs
    self.layers = nn.Sequential(*blocks)
    self.conv2 = _conv(320, 1280, 1)
    self.bn2 = nn.BatchNorm2d(1280)
    self.linear = nn.Linear(1280, classes)

  def forward(self, x):
    x = self.layers(self.bn1(self.conv1(x)).relu())
    x = self.bn2(self.conv2(x)).relu()
    return self.linear(x.mean((2, 3)))


def _tensorflow_pad(x, stride):
  return functional.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class DeepMindBlock(nn.Module):
  """Of DeepMind's WideResNets: the shortcut reads what is activated."""

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.stride = stride
    self.batchnorm_0 = nn.BatchNorm2d(inputs)
    self.conv_0 = _conv(inputs, outputs, 3, stride, padding=0)
    self.batchnorm_1 = nn.BatchNorm2d(outputs)
    self.conv_1 = _conv(outputs, outputs, 3)
    if inputs != outputs:
      self.shortcut = _conv(inputs, outputs, 1, stride)

  def forward(self, x):
    y = functional.silu(self.batchnorm_0(x))
    if hasattr(self, 'shortcut'):
      x = self.shortcut(y)
    y = self.conv_0(_tensorflow_pad(y, self.stride))
    return x + self.conv_1(functional.silu(self.batchnorm_1(y)))


class DeepMindGroup(nn.Module):
  def __init__(self, count, inputs, outputs, stride):
    super().__init__()
    self.block = nn.Sequential(
      *[
        DeepMindBlock(inputs if not i else outputs, outputs, 1 if i else stride)
        for i in range(count)
      ]
    )

  def forward(self, x):
    return self.block(x)


def _normalised(x):
  """CIFAR-10's numbers, which no file holds."""
  mean = torch.tensor((0.4914, 0.4822, 0.4465)).view(1, 3, 1, 1)
  std = torch.tensor((0.2471, 0.2435, 0.2616)).view(1, 3, 1, 1)
  return (x - mean) / std


class DeepMindWideResNet(nn.Module):
  def __init__(self, depth, widen, classes):
    super().__init__()
    count = (depth - 4) // 6
    w = 16 * widen
    self.init_conv = _conv(3, 16, 3)
    self.layer = nn.Sequential(
      DeepMindGroup(count, 16, w, 1),
      DeepMindGroup(count, w, 2 * w, 2),
      DeepMindGroup(count, 2 * w, 4 * w, 2),
    )
    self.batchnorm = nn.BatchNorm2d(4 * w)
    self.logits = nn.Linear(4 * w, classes)

  def forward(self, x):
    x = self.layer(self.init_conv(_normalised(x)))
    return self.logits(functional.silu(self.batchnorm(x)).mean((2, 3)))


class DeepMindPreActBlock(nn.Module):
  """Its shortcut is 3x3 and reads what is not activated."""

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.stride = stride
    self.batchnorm_0 = nn.BatchNorm2d(inputs)
    self.conv_2d_1 = _conv(inputs, outputs, 3, stride, padding=0)
    self.batchnorm_1 = nn.BatchNorm2d(outputs)
    self.conv_2d_2 = _conv(outputs, outputs, 3)
    if stride != 1 or inputs != outputs:
      self.shortcut = _conv(inputs, outputs, 3, stride, padding=0)

  def forward(self, x):
    y = functional.silu(self.batchnorm_0(x))
    y = self.conv_2d_1(_tensorflow_pad(y, self.stride))
    y = self.conv_2d_2(functional.silu(self.batchnorm_1(y)))
    if hasattr(self, 'shortcut'):
      x = self.shortcut(_tensorflow_pad(x, self.stride))
    return x + y


class DeepMindPreActResNet(nn.Module):
  def __init__(self, width, classes):
    super().__init__()
    self.conv_2d = _conv(3, width, 3)
    inputs = width
    for stage in range(4):
      outputs = width * 2**stage
      blocks = [
        DeepMindPreActBlock(inputs, outputs, 2 if stage else 1),
        DeepMindPreActBlock(outputs, outputs, 1),
      ]
      setattr(self, f'layer_{stage}', nn.Sequential(*blocks))
      inputs = outputs
    self.batchnorm = nn.BatchNorm2d(inputs)
    self.logits = nn.Linear(inputs, classes)

  def forward(self, x):
    x = self.conv_2d(_normalised(x))
    for stage in range(4):
      x = getattr(self, f'layer_{stage}')(x)
    return self.logits(functional.silu(self.batchnorm(x)).mean((2, 3)))


class Normalised(nn.Module):
  """A wrapper with its numbers in the file, as RobustBench has them."""

  def __init__(self, model):
    super().__init__()
    self.register_buffer('mu', torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
    self.register_buffer(
      'sigma', torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)
    )
    self.model = model

  def forward(self, x):
    return self.model((x - self.mu) / self.sigma)


def filled(model: nn.Module, seed: int = 0) -> nn.Module:
  """Returns a network in eval mode with random parameters and statistics."""
  generator = torch.Generator().manual_seed(seed)
  for name, tensor in model.state_dict().items():
    if not tensor.is_floating_point() or name in ('mu', 'sigma'):
      continue
    drawn = torch.rand(tensor.shape, generator=generator)
    if name.endswith('running_var') or (
      tensor.dim() == 1 and name.endswith('weight')
    ):
      tensor.copy_(0.5 + drawn)
    elif tensor.dim() == 1:
      tensor.copy_(drawn - 0.5)
    else:
      fan_in = tensor[0].numel()
      # Small enough for logits of the size that trained networks have.
      tensor.copy_((2 * drawn - 1) * (1.5 / fan_in) ** 0.5)
  return model.eval()
