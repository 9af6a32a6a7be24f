"""PeerAiD's training step in PyTorch, to compare our step's speed with.

Needs PyTorch. Written from the paper. The variant `AUTHORS` makes the same
passes through the networks as the authors' code; the other variants apply
optimisations that PyTorch users know.
"""

import contextlib
import dataclasses

import torch
from torch.nn import functional

from experiments.benchmarks import torch_nets


@dataclasses.dataclass(frozen=True)
class Variant:
  """Optimisations of the step. They do not change what it computes.

  Attributes:
    once: pass the adversarial images through the student once for both
      losses, and update its running statistics as two passes would.
    channels_last: store images and kernels with channels last (NHWC).
    compiled: compile the networks with `torch.compile`.
    fused: update all parameters with one kernel (`SGD(fused=True)`).
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
  """Returns a network with PyTorch's initialisation.

  Args:
    name: as in `peeraid_jax.models`: 'resnet18' or 'wideresnetDxW'.
    width: channels of a ResNet's first stage.
    classes: number of logits.

  Raises:
    ValueError: this module has no such network.
  """
  if name == 'resnet18':
    return torch_nets.ResNet((2, 2, 2, 2), width, classes)
  kind, _, size = name.partition('wideresnet')
  if kind or not size:
    raise ValueError(
      f'network {name!r} is unknown; known: resnet18, wideresnetDxW'
    )
  depth, widen = map(int, size.split('x'))
  return torch_nets.WideResNet(depth, widen, classes)


def _kl(target, logits, temperature: float = 1.0):
  """Returns the terms of KL(target || logits), both logits [B, C]: [B, C]."""
  target = functional.log_softmax(target / temperature, -1)
  return functional.kl_div(
    functional.log_softmax(logits / temperature, -1),
    target,
    reduction='none',
    log_target=True,
  )


class Step:
  """PeerAiD's training step with its CIFAR-10 settings.

  Holds both networks and their optimizers.

  Args:
    student: network on the device of the images.
    peer: as `student`.
    variant: optimisations.
    bfloat16: run the networks under autocast to bfloat16.
    start_scale: standard deviation of the attack's Gaussian start.
    steps: number of attack steps.
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
    # Network -> its callable, which may be compiled.
    self.run = {
      net: torch.compile(net) if variant.compiled else net
      for net in (student, peer)
    }

  def _logits(self, net, images):
    """Returns float32 logits; the network may run in bfloat16."""
    context = contextlib.nullcontext()
    if self.bfloat16:
      context = torch.autocast(images.device.type, torch.bfloat16)
    with context:
      logits = self.run[net](images)
    return logits.float()

  def _attack(self, images):
    """Returns images that drive the student away from the peer's prediction.

    Linf PGD; both networks are in eval mode.
    """
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

  def _one_pass(self, adv):
    """Returns the student's logits; updates its statistics as two passes."""
    norms = [
      m for m in self.student.modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    # Two updates with momentum 0.1 by the same batch have weight 1 - 0.9^2.
    for norm in norms:
      norm.momentum = 0.19
    logits = self._logits(self.student, adv)
    for norm in norms:
      norm.momentum = 0.1
    return logits

  def __call__(self, images, labels):
    """Takes a step.

    Args:
      images: [B, 3, H, W] in [0, 1].
      labels: int64 [B].

    Returns:
      The loss before the step.
    """
    if self.variant.channels_last:
      images = images.contiguous(memory_format=torch.channels_last)
    adv = self._attack(images)
    self.student.train()
    self.peer.train()
    peer = self._logits(self.peer, adv)
    if self.variant.once:
      robust_for_peer = robust = self._one_pass(adv)
    else:
      robust_for_peer = self._logits(self.student, adv)
      robust = self._logits(self.student, adv)
    clean = self._logits(self.student, images)
    t = self.temperature
    loss = (
      self.gamma1 * functional.cross_entropy(peer, labels)
      + self.gamma2 * _kl(robust_for_peer, peer).mean()
      + self.lambda2 * t**2 * _kl(peer.detach(), robust, t).mean()
      + self.lambda3 * t**2 * _kl(clean, robust, t).mean()
    )
    for optimizer in self.optimizers:
      optimizer.zero_grad()
    loss.backward()
    for optimizer in self.optimizers:
      optimizer.step()
    return loss.detach()
