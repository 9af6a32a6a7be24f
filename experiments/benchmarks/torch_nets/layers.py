"""What several of the networks share: layers, input scaling, random filling."""

import torch
from torch import nn


def conv(inputs, outputs, size, stride=1, groups=1, padding=None):
  """Returns a convolution without bias; `padding` defaults to 'same' size."""
  padding = size // 2 if padding is None else padding
  return nn.Conv2d(
    inputs, outputs, size, stride, padding, groups=groups, bias=False
  )


def projection(inputs, outputs, stride):
  """Returns a shortcut: 1x1 convolution and norm, or identity if shapes fit."""
  if stride == 1 and inputs == outputs:
    return nn.Sequential()
  return nn.Sequential(
    conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
  )


def stage(block, count, inputs, outputs, stride):
  """Returns `count` blocks; the first changes channels and resolution.

  Args:
    block: class, called with (inputs, outputs, stride).
    count: number of blocks.
    inputs: channels of the images that enter.
    outputs: channels of every block.
    stride: stride of the first block.
  """
  return nn.Sequential(
    *[
      block(outputs if i else inputs, outputs, 1 if i else stride)
      for i in range(count)
    ]
  )


class Normalised(nn.Module):
  """A network behind input normalisation whose numbers are in the state dict.

  RobustBench's files have this form. The numbers here are arbitrary.
  """

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
  """Fills a network with random parameters and statistics, in eval mode."""
  generator = torch.Generator().manual_seed(seed)
  for name, tensor in model.state_dict().items():
    if not tensor.is_floating_point() or name in ('mu', 'sigma'):
      continue
    uniform = torch.rand(tensor.shape, generator=generator)
    if name.endswith('running_var') or (
      tensor.dim() == 1 and name.endswith('weight')
    ):
      tensor.copy_(0.5 + uniform)
    elif tensor.dim() == 1:
      tensor.copy_(uniform - 0.5)
    else:
      fan_in = tensor[0].numel()
      # Small enough that logits are as large as those of trained networks.
      tensor.copy_((2 * uniform - 1) * (1.5 / fan_in) ** 0.5)
  return model.eval()
