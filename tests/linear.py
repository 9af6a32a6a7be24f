"""Linear networks: their distance to the boundary has a closed form."""

import numpy as np

from peeraid_jax import autoattack

SHAPE = (5, 6, 1)
_SHORT = {'steps': 20, 'queries': 40}


def network(classes: int, seed: int = 0):
  """Returns (logits_fn, its weights) of a linear classifier."""
  rng = np.random.default_rng(seed)
  weights = rng.normal(size=(np.prod(SHAPE), classes)).astype(np.float32)
  return lambda x: (x.reshape(len(x), -1) - 0.5) @ weights, weights


def points(logits_fn, count=24, wrong=2):
  """Returns images far from 0 and 1, and labels.

  Args:
    logits_fn: of `network`.
    count: of points.
    wrong: how many of the first points are misclassified.
  """
  images = np.random.default_rng(1).uniform(0.3, 0.7, (count, *SHAPE))
  images = images.astype(np.float32)
  logits = np.array(logits_fn(images))
  labels = logits.argmax(-1)
  labels[:wrong] = (labels[:wrong] + 1) % logits.shape[-1]
  return images, labels


def radii(logits_fn, weights, images, labels, norm):
  """Returns the exact distance of each point to the nearest other class."""
  logits = np.array(logits_fn(images))
  order = {'Linf': 1, 'L2': 2, 'L1': np.inf}[norm]
  nearest = []
  for z, y in zip(logits, labels, strict=True):
    distances = [
      (z[y] - z[j]) / np.linalg.norm(weights[:, y] - weights[:, j], order)
      for j in range(len(z))
      if j != y
    ]
    nearest.append(min(distances))
  return np.array(nearest)


def evaluate(logits_fn, images, labels, **kwargs):
  """Runs AutoAttack with few steps, which suffice for these networks."""
  return autoattack.run(
    logits_fn, images, labels, **{'batch_size': 16, **_SHORT, **kwargs}
  )
