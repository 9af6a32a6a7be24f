"""APGD and FAB once more, in NumPy: image by image, one step after another.

Of a network of two layers, whose gradients are written out. Projections are
those of the package; `projections_test` compares them with solvers.
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

  def pulled(self, x, outer):
    """Gradient of outer @ logits to x."""
    inner = (outer @ self.second.T) * (1 - self.hidden(x) ** 2)
    return (inner @ self.first.T).reshape(x.shape)

  def cross_entropy(self, x, label):
    """Returns (loss in float32, as attacks compare it; gradient)."""
    z = self.logits(x)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    gradient = self.pulled(x, p - np.eye(CLASSES)[label])
    return np.float32(-np.log(p[label])), gradient


def logits_fn(network: Network, images):
  """The network as attacks take it: [B, *SHAPE] -> [B, CLASSES]."""
  hidden = jnp.tanh((images.reshape(len(images), -1) - 0.5) @ network.first)
  return hidden @ network.second


def points(network: Network, count: int, seed: int = 1):
  """Images of the inner box, and the classes that they are given."""
  rng = np.random.default_rng(seed)
  images = rng.uniform(0.1, 0.9, (count, *SHAPE))
  return images, np.array([network.logits(x).argmax() for x in images])


_l1 = jax.jit(projections.l1_ball_and_box)
_onto_plane = jax.jit(projections.plane_in_box, static_argnames='norm')


def project(x, center, epsilon, norm):
  """Puts one image into the ball around another, and into the box."""
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


def apgd(network, image, label, start, *, epsilon, norm, steps, given=True):
  """One run of APGD from a start; returns (best, its loss, adversarial).

  `given` is whether the start was one, which in L1 says how many coordinates
  the first steps move. The last misclassified iterate is adversarial, None if
  there is none.
  """
  x = x_before = best = start
  f, g = network.cross_entropy(x, label)
  f_best, g_best = f, g
  adversarial = x if network.logits(x).argmax() != label else None
  history = [np.float32(0)]
  # In Linf and L2:
  window, since, reduced, f_check = max(int(0.22 * steps), 1), 0, True, f
  step = np.float32(2 * epsilon)
  # In L1:
  moved, share = x.size, fractions.Fraction(1, 5)
  if norm == 'L1':
    step = np.float32(epsilon)
    if given:
      moved = (start != image).sum()
      share = fractions.Fraction(2 * int(moved), 3 * x.size)
  for i in range(steps):
    before, x_before = x - x_before, x
    if norm == 'L1':
      rank = min(int((1 - share) * x.size), x.size - 1)
      kept = np.abs(g) >= np.sort(np.abs(g).ravel())[rank]
      direction = np.sign(g) * kept
      direction = direction / (np.abs(direction).sum() + 1e-10)
      x = project(x + step * direction, image, epsilon, norm)
    else:
      direction = np.sign(g)
      if norm == 'L2':
        direction = g / (np.linalg.norm(g) + 1e-12)
      a = 1 if i == 0 else 0.75
      z = project(x + step * direction, image, epsilon, norm)
      x = project(x + a * (z - x) + (1 - a) * before, image, epsilon, norm)
    f, g = network.cross_entropy(x, label)
    history.append(f)
    if network.logits(x).argmax() != label:
      adversarial = x
    if f > f_best:
      best, f_best, g_best = x, f, g
    if norm == 'L1':
      if (i + 1) % max(int(0.04 * steps), 1) == 0:
        now = (best != image).sum()
        share = fractions.Fraction(2 * int(now), 3 * x.size)
        if now / moved < 0.95:
          step, x, g = np.float32(epsilon), best, g_best
        else:
          step = max(step / np.float32(1.5), np.float32(epsilon / 10))
        moved = now
      continue
    since += 1
    if since < window:
      continue
    pairs = zip(history[-since - 1 : -1], history[-since:], strict=True)
    rises = sum(late > early for early, late in pairs)
    halved = rises <= 0.75 * window or (not reduced and f_best <= f_check)
    if halved:
      step, x, g = step / 2, best, g_best
    reduced, f_check, since = halved, f_best, 0
    shorter = window - max(int(0.03 * steps), 1)
    window = max(shorter, int(0.06 * steps), 1)
  return best, f_best, adversarial


def fab(network, image, label, *, norm, steps, target=None, start=None):
  """One run of FAB; returns (nearest misclassified point, its distance)."""
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
      h, g = outer @ z, network.pulled(x, outer).ravel()
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
