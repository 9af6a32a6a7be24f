"""PyTorch versions of the networks that the package reads or is compared with.

Each class has the layer names and computes the function of one public
repository, so that its state dicts have that repository's keys. The code is
our own. `filled` gives a network random parameters and statistics.
"""

from experiments.benchmarks.torch_nets.deepmind import (
  DeepMindPreActResNet,
  DeepMindWideResNet,
)
from experiments.benchmarks.torch_nets.layers import Normalised, filled
from experiments.benchmarks.torch_nets.mobilenetv2 import MobileNetV2
from experiments.benchmarks.torch_nets.resnet import ResNet
from experiments.benchmarks.torch_nets.wideresnet import Projected, WideResNet

__all__ = [
  'DeepMindPreActResNet',
  'DeepMindWideResNet',
  'MobileNetV2',
  'Normalised',
  'Projected',
  'ResNet',
  'WideResNet',
  'filled',
]
