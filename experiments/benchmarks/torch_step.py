"""PeerAiD's step in PyTorch, as a measure of ours; `pip install torch`.

Written from the paper. `AUTHORS` computes what the authors' code does, pass by
pass; the other variants are what else a user of PyTorch would try.
"""

import contextlib
import dataclasses

import torch
from torch.nn import functional

from experiments.benchmarks import torch_nets


@dataclasses.dataclass(frozen=True)
class Variant:
  """How the step is run.

  Attributes:
    once: pass the adversarial images through the student once for both
      losses, and update its running statistics twice, instead of passing them
      twice.
    channels_last: memory layout of images and kernels.
    compiled: networks go through `torch.compile`.
    fused: one kernel updates all parameters (`SGD(fused=True)`).
  """

  once: bool = True
  channels_last: bool = True
  compiled: bool = False
  fused: bool = True


AUTHORS = Variant(once=False, channels_last=False, fused=False)
VARIANTS = {
  'eager': AUTHORS,
  'channels_last': Variant(),
  'compile': Variant(compiled=True),
}


def network(name: str, width: int = 64, classes: int = 10) -> torch.nn.Module:
  """Returns a network of the benchmark, with PyTorch's initialisation.

  Args:
    name: as our models are called.
    width: channels of a ResNet's first stage.
    classes: number of logits.

  Raises:
    ValueError: no such network here.
  """
  if name == 'resnet18':
    return torch_nets.ResNet((2, 2, 2, 2), width, classes)
  kind, _, size = name.partition('wideresnet')
  if kind or not size:
    raise ValueError(f'{name!r}: resnet18 and wideresnetDxW are here')
  depth, widen = map(int, size.split('x'))
  return torch_nets.WideResNet(depth, widen, classes)


def _kl(target, logits, temperature: float = 1.0):
  """KL(target || logits) per example and class, [B, C]."""
  target = functional.log_softmax(target / temperature, -1)
  return functional.kl_div(
    functional.log_softmax(logits / temperature, -1),
    target,
    reduction='none',
    log_target=True,
  )


class Step:
  """PeerAiD with its CIFAR-10 settings; both networks and their optimizers.

  Args:
    student, peer: networks on the device of the images.
    variant: how it is run.
    bfloat16: networks run under autocast.
    start_scale: of the attack's Gaussian start.
    steps: of the attack.
  """

  epsilon, step_size = 8 / 255, 2 / 255
  gamma1, gamma2, lambda2, lambda3, temperature = 1.0, 0.1, 1.0, 1.0, 5.0

  def __init__(
    self, student, peer, variant, *, bfloat16=False, start_scale=1e-3, steps=10
  ):
    self.variant, self.bfloat16 = variant, bfloat16
    self.start_scale, self.steps = start_scale, steps
    if variant.channels_last:
      student, peer = (
        n.to(memory_format=torch.channels_last) for n in (student, peer)
      )
    self.student, self.peer = student, peer
    self.optimizers = [
      torch.optim.SGD(
        net.parameters(),
        lr=0.1,
        momentum=0.9,
        weight_decay=2e-4,
        fused=variant.fused,
      )
      for net in (student, peer)
    ]
    self.run = {
      net: torch.compile(net) if variant.compiled else net
      for net in (student, peer)
    }

  def _logits(self, net, images):
    context = contextlib.nullcontext()
    if self.bfloat16:
      context = torch.autocast(images.device.type, torch.bfloat16)
    with context:
      logits = self.run[net](images)
    return logits.float()

  def _attack(self, images):
    self.student.eval()
    self.peer.eval()
    with torch.no_grad():
      target = self._logits(self.peer, images)
      adv = images + self.start_scale * torch.randn_like(images)
    for _ in range(self.steps):
      adv.requires_grad_()
      loss = _kl(target, self._logits(self.student, adv)).sum()
      (gradient,) = torch.autograd.grad(loss, adv)
      with torch.no_grad():
        adv = adv + self.step_size * gradient.sign()
        adv = torch.clamp(adv, images - self.epsilon, images + self.epsilon)
        adv = adv.clamp(0, 1)
    return adv.detach()

  def _twice(self, adv):
    """Logits of the images passed once, their statistics taken in twice."""
    norms = [
      m for m in self.student.modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    # 1 - 0.9^2 is what two updates by the same batch take in.
    for norm in norms:
      norm.momentum = 0.19
    logits = self._logits(self.student, adv)
    for norm in norms:
      norm.momentum = 0.1
    return logits

  def __call__(self, images, labels):
    """Takes a step on [B, 3, H, W] in [0, 1]; returns the loss."""
    if self.variant.channels_last:
      images = images.contiguous(memory_format=torch.channels_last)
    adv = self._attack(images)
    self.student.train()
    self.peer.train()
    p = self._logits(self.peer, adv)
    if self.variant.once:
      s_of_peer = s = self._twice(adv)
    else:
      s_of_peer = self._logits(self.student, adv)
      s = self._logits(self.student, adv)
    n = self._logits(self.student, images)
    t = self.temperature
    loss = (
      self.gamma1 * functional.cross_entropy(p, labels)
      + self.gamma2 * _kl(s_of_peer, p).mean()
      + self.lambda2 * t**2 * _kl(p.detach(), s, t).mean()
      + self.lambda3 * t**2 * _kl(n, s, t).mean()
    )
    for optimizer in self.optimizers:
      optimizer.zero_grad()
    loss.backward()
    for optimizer in self.optimizers:
      optimizer.step()
    return loss.detach()
