"""FAB: searches the nearest misclassified point.

It steps onto linear approximations of the decision boundary.

Reference:
  Croce and Hein, Minimally Distorted Adversarial Examples with a Fast
  Adaptive Boundary Attack, 2020; constants of AutoAttack.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import images as images_lib
from peeraid_jax.attacks import ascent, projections

# alpha_max, eta and beta of the paper: the largest weight of the step from
# the clean image, the factor by which steps overshoot, and the share of the
# distance that is kept when a misclassified point moves back.
_ALPHA_MAX = 0.1
_OVERSHOOT = 1.05
_BACKWARD = 0.9
# The distance of images for which no misclassified point is known.
_FAR = 1e10


class Result(NamedTuple):
  """The result of FAB.

  Attributes:
    images: [B, H, W, C], the nearest misclassified point, or the clean image
      where there is none within the radius. NaN if instead the search ended
      because a gradient is NaN.
    broken: bool [B], whether there is one within the radius.
    distance: [B], of the nearest misclassified point at any radius; 1e10
      where there is none.
  """

  images: chex.Array
  broken: chex.Array
  distance: chex.Array


def _linearised(logits_fn, x, labels, targets, norm):
  """Linearises the boundary h = 0 between the label and another class at x.

  Args:
    logits_fn: images -> logits.
    x: [B, H, W, C].
    labels: int [B].
    targets: int [B], the other classes; None takes the one whose linearised
      boundary is nearest.
    norm: 'Linf', 'L2' or 'L1', of the distance.

  Returns:
    (h = logit of the other class - logit of the label [B], its gradient
    [B, D]).
  """
  rows = jnp.arange(len(x))

  if targets is not None:

    def summed_h(x):
      logits = logits_fn(x)
      h = logits[rows, targets] - logits[rows, labels]
      return jnp.sum(h), h

    gradient, h = jax.grad(summed_h, has_aux=True)(x)
    return h, gradient.reshape(len(x), -1)

  logits, pull_back = jax.vjp(logits_fn, x)
  classes = logits.shape[-1]
  jacobian = jax.vmap(
    lambda c: pull_back(jnp.zeros_like(logits).at[:, c].set(1))[0]
  )(jnp.arange(classes))
  jacobian = jacobian.reshape(classes, len(x), -1).swapaxes(0, 1)
  h = logits - logits[rows, labels][:, None]
  gradients = jacobian - jacobian[rows, labels][:, None]
  dual = {'Linf': 'L1', 'L2': 'L2', 'L1': 'Linf'}[norm]
  lengths = jax.vmap(lambda g: projections.norm_of(g, dual))(gradients)
  distances = jnp.abs(h) / (lengths + 1e-12)
  distances = distances.at[rows, labels].set(jnp.inf)
  nearest = jnp.argmin(distances, axis=-1)
  return h[rows, nearest], gradients[rows, nearest]


def _halfway_to_random_point(clean, keys, shape, *, epsilon, norm):
  """Returns points halfway to the ball's surface, clipped to the box.

  Args:
    clean: [B, D].
    keys: [B].
    shape: (H, W, C) of an image; noise of another shape would differ.
    epsilon: radius.
    norm: 'Linf', 'L2' or 'L1'.
  """
  draw = lambda k: jax.random.normal(k, shape)
  if norm == 'Linf':
    draw = lambda k: jax.random.uniform(k, shape, minval=-1, maxval=1)
  noise = jax.vmap(draw)(keys).reshape(clean.shape)
  length = projections.norm_of(noise, norm)[:, None]
  return jnp.clip(clean + 0.5 * epsilon * noise / length, 0, 1)


def _step(x, clean, h, gradient, norm):
  """Steps over the linearised boundary, mixing in a step from the image.

  Args:
    x: [B, D], the iterate.
    clean: [B, D], the clean images.
    h: [B], of `_linearised`.
    gradient: [B, D], of `_linearised`.
    norm: 'Linf', 'L2' or 'L1'.

  Returns:
    The next iterate, [B, D].
  """
  h, gradient = h.astype(jnp.float32), gradient.astype(jnp.float32)
  offset = jnp.sum(gradient * x, axis=-1) - h
  twice = lambda v: jnp.concatenate([v, v])
  moves = projections.plane_in_box(
    jnp.concatenate([x, clean]), twice(gradient), twice(offset), norm=norm
  )
  lengths = jnp.maximum(projections.norm_of(moves, norm), 1e-8)
  (move, clean_move) = jnp.split(moves, 2)
  (length, clean_length) = jnp.split(lengths, 2)
  alpha = jnp.minimum(length / (length + clean_length), _ALPHA_MAX)[:, None]
  x = (1 - alpha) * (x + _OVERSHOOT * move)
  return jnp.clip(x + alpha * (clean + _OVERSHOOT * clean_move), 0, 1)


def fab(
  logits_fn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  epsilon: float,
  norm: str = 'Linf',
  steps: int = 100,
  targets: chex.Array | None = None,
  random_start: chex.Numeric = False,
) -> Result:
  """Runs FAB once.

  Args:
    logits_fn: images -> logits.
    images: [B, H, W, C] in [0, 1], classified correctly.
    labels: int [B].
    key: one key, or one per image; random starts alone use it.
    epsilon: radius within which a point counts as broken, and of random
      starts; it does not limit the search.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    targets: int [B], classes to reach; None considers all.
    random_start: start halfway to a random point of the ball.
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(labels, (len(images),))
  shape, clean = images.shape, images.reshape(len(images), -1)
  predict = lambda x: images_lib.predicted(logits_fn(x.reshape(shape)))
  keys = ascent.per_example(key, len(images))
  away = _halfway_to_random_point(
    clean, keys, shape[1:], epsilon=epsilon, norm=norm
  )
  x = jnp.where(random_start, away, clean)

  def iterate(_, carry):
    x, best, distance = carry
    h, gradient = _linearised(
      logits_fn, x.reshape(shape), labels, targets, norm
    )
    x = _step(x, clean, h, gradient, norm)
    wrong = predict(x) != labels
    x_distance = projections.norm_of(x - clean, norm)
    nearer = wrong & (x_distance < distance)
    best = jnp.where(nearer[:, None], x, best)
    distance = jnp.where(nearer, x_distance, distance)
    # Misclassified iterates move back towards the image, where the boundary
    # may be nearer.
    x = jnp.where(wrong[:, None], clean + _BACKWARD * (x - clean), x)
    return x, best, distance

  far = jnp.full(len(images), _FAR, jnp.float32)
  x, best, distance = jax.lax.fori_loop(0, steps, iterate, (x, clean, far))
  broken = distance <= epsilon
  lost = jnp.any(jnp.isnan(x), axis=-1)
  otherwise = jnp.where(lost[:, None], x, clean)
  nearest = jnp.where(broken[:, None], best, otherwise).reshape(shape)
  return Result(nearest, broken, distance)
