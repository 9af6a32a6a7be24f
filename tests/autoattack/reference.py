"""APGD and FAB in plain NumPy, one image at a time, as tests' reference.

They attack a network of two layers with analytic gradients. Projections are
the package's; `projections_test` compares those with solvers.
"""

import fractions

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.attacks import projections

SHAPE = (4, 5, 1)
CLASSES = 4


class Network:
  """logits = tanh((x - 0.5) @ first) @ second."""

  def __init__(self, seed: int = 0):
    rng = np.random.default_rng(seed)
    self.first = 1.5 * rng.normal(size=(np.prod(SHAPE), 8))
    self.second = rng.normal(size=(8, CLASSES))

  def hidden(self, x):
    return np.tanh((x.ravel() - 0.5) @ self.first)

  def logits(self, x):
    return self.hidden(x) @ self.second

  def gradient(self, x, outer):
    """Returns the gradient of outer @ logits with respect to x."""
    inner = (outer @ self.second.T) * (1 - self.hidden(x) ** 2)
    return (inner @ self.first.T).reshape(x.shape)

  def cross_entropy(self, x, label):
    """Returns (loss, in float32 as attacks compare it; its gradient)."""
    z = self.logits(x)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    gradient = self.gradient(x, p - np.eye(CLASSES)[label])
    return np.float32(-np.log(p[label])), gradient


def logits_fn(network: Network, images):
  """The network in JAX: [B, *SHAPE] -> [B, CLASSES]."""
  hidden = jnp.tanh((images.reshape(len(images), -1) - 0.5) @ network.first)
  return hidden @ network.second


def points(network: Network, count: int, seed: int = 1):
  """Returns images in [0.1, 0.9] and their predicted classes."""
  rng = np.random.default_rng(seed)
  images = rng.uniform(0.1, 0.9, (count, *SHAPE))
  return images, np.array([network.logits(x).argmax() for x in images])


_l1 = jax.jit(projections.l1_ball_and_box)
_onto_plane = jax.jit(projections.plane_in_box, static_argnames='norm')


def project(x, center, epsilon, norm):
  """Projects one image into the ball around another, and into the box."""
  delta = x - center
  if norm == 'Linf':
    delta = np.clip(delta, -epsilon, epsilon)
  elif norm == 'L2':
    delta = delta * min(1, epsilon / (np.linalg.norm(delta) + 1e-12))
  else:
    flat = lambda v: v.reshape(1, -1)
    delta = np.asarray(_l1(flat(center), flat(delta), epsilon))
    delta = delta.reshape(center.shape)
  return np.clip(center + delta, 0, 1)


def _direction(g, share, norm):
  """Returns the direction of a step; in L1 a share of the coordinates moves."""
  direction = np.sign(g)
  if norm == 'L2':
    direction = g / (np.linalg.norm(g) + 1e-12)
  if norm == 'L1':
    rank = min(int((1 - share) * g.size), g.size - 1)
    direction = direction * (np.abs(g) >= np.sort(np.abs(g).ravel())[rank])
    direction = direction / (np.abs(direction).sum() + 1e-10)
  return direction


class _StepSize:
  """The step size in Linf and L2, which is halved at checkpoints."""

  def __init__(self, epsilon, steps, loss):
    self.value = np.float32(2 * epsilon)
    self._steps, self._window = steps, max(int(0.22 * steps), 1)
    self._since, self._halved, self._best_at_check = 0, True, loss
    self._history = [np.float32(0)]

  def update(self, loss, best_loss) -> bool:
    """Records the loss of a step; returns whether the step size was halved."""
    self._history.append(loss)
    self._since += 1
    if self._since < self._window:
      return False
    recent = self._history[-self._since - 1 :]
    rises = sum(b > a for a, b in zip(recent[:-1], recent[1:], strict=True))
    stuck = not self._halved and best_loss <= self._best_at_check
    self._halved = rises <= 0.75 * self._window or stuck
    if self._halved:
      self.value = self.value / 2
    self._best_at_check, self._since = best_loss, 0
    shorter = self._window - max(int(0.03 * self._steps), 1)
    self._window = max(shorter, int(0.06 * self._steps), 1)
    return self._halved


class _Sparsity:
  """The step size and the share of coordinates that move, in L1."""

  def __init__(self, epsilon, steps, image, start, given):
    self._epsilon, self._image = epsilon, image
    self._window, self._iterations = max(int(0.04 * steps), 1), 0
    self.value = np.float32(epsilon)
    self.share, self._changed = fractions.Fraction(1, 5), image.size
    if given:
      self._changed = (start != image).sum()
      self.share = self._two_thirds(self._changed)

  def _two_thirds(self, changed):
    return fractions.Fraction(2 * int(changed), 3 * self._image.size)

  def update(self, best) -> bool:
    """Counts a step; returns whether the run goes back to its best iterate."""
    self._iterations += 1
    if self._iterations % self._window:
      return False
    changed = (best != self._image).sum()
    self.share = self._two_thirds(changed)
    sparser = changed / self._changed < 0.95
    if sparser:
      self.value = np.float32(self._epsilon)
    else:
      shorter = self.value / np.float32(1.5)
      self.value = max(shorter, np.float32(self._epsilon / 10))
    self._changed = changed
    return sparser


def apgd(network, image, label, start, *, epsilon, norm, steps, given=True):
  """Runs APGD once.

  Args:
    network: a `Network`.
    image: SHAPE, clean.
    label: its class.
    start: SHAPE, the first iterate.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    given: whether `start` was given, not drawn; in L1 it determines how many
      coordinates the first steps move.

  Returns:
    (the iterate with the largest loss, that loss, the last misclassified
    iterate or None).
  """
  x = x_before = best = start
  loss, g = network.cross_entropy(x, label)
  best_loss, best_g = loss, g
  adversarial = x if network.logits(x).argmax() != label else None
  step = _StepSize(epsilon, steps, loss)
  sparsity = _Sparsity(epsilon, steps, image, start, given)
  for i in range(steps):
    momentum, x_before = x - x_before, x
    direction = _direction(g, sparsity.share, norm)
    if norm == 'L1':
      x = project(x + sparsity.value * direction, image, epsilon, norm)
    else:
      a = 1 if i == 0 else 0.75
      z = project(x + step.value * direction, image, epsilon, norm)
      x = project(x + a * (z - x) + (1 - a) * momentum, image, epsilon, norm)
    loss, g = network.cross_entropy(x, label)
    if network.logits(x).argmax() != label:
      adversarial = x
    if loss > best_loss:
      best, best_loss, best_g = x, loss, g
    if norm == 'L1':
      goes_back = sparsity.update(best)
    else:
      goes_back = step.update(loss, best_loss)
    if goes_back:
      x, g = best, best_g
  return best, best_loss, adversarial


def fab(network, image, label, *, norm, steps, target=None, start=None):
  """Runs FAB once.

  Args:
    network: a `Network`.
    image: SHAPE, clean.
    label: its class.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    target: the class to reach; None considers all.
    start: SHAPE, the first iterate; None is the image.

  Returns:
    (nearest misclassified point or None, its distance or 1e10).
  """
  order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
  dual = {'Linf': 1, 'L2': 2, 'L1': np.inf}[norm]
  length = lambda v: np.linalg.norm(v.ravel(), order)
  x = image if start is None else start
  nearest, distance = None, 1e10
  for _ in range(steps):
    z = network.logits(x)
    planes = []
    for other in range(CLASSES) if target is None else [target]:
      if other == label:
        continue
      outer = np.eye(CLASSES)[other] - np.eye(CLASSES)[label]
      h, g = outer @ z, network.gradient(x, outer).ravel()
      planes.append((abs(h) / np.linalg.norm(g, dual), h, g))
    _, h, g = min(planes, key=lambda plane: plane[0])
    offset = g @ x.ravel() - h
    from_x, from_image = (
      np.asarray(
        _onto_plane(v.reshape(1, -1), g[None], np.array([offset]), norm=norm)
      ).reshape(image.shape)
      for v in (x, image)
    )
    near, far = max(length(from_x), 1e-8), max(length(from_image), 1e-8)
    alpha = min(near / (near + far), 0.1)
    ahead = (1 - alpha) * (x + 1.05 * from_x)
    x = np.clip(ahead + alpha * (image + 1.05 * from_image), 0, 1)
    if network.logits(x).argmax() != label:
      if length(x - image) < distance:
        nearest, distance = x, length(x - image)
      x = image + 0.9 * (x - image)
  return nearest, distance
