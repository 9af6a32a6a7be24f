"""FAB: the nearest misclassified point, by steps onto linearised boundaries.

Reference:
  Croce and Hein, Minimally Distorted Adversarial Examples with a Fast
  Adaptive Boundary Attack, 2020; constants of AutoAttack.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.attacks import ascent, projections

_ALPHA_MAX = 0.1
_OVERSHOOT = 1.05
_BACKWARD = 0.9
# Stands for the distance of a point that was not found.
_FAR = 1e10


class Result(NamedTuple):
  """What a run of FAB found.

  Attributes:
    images: [B, H, W, C], the nearest misclassified point, or the clean image
      where none was found within the radius.
    broken: bool [B], whether one was.
    distance: [B], of the nearest misclassified point at any radius; 1e10
      where there is none.
  """

  images: chex.Array
  broken: chex.Array
  distance: chex.Array


def _linearised(logits_fn, x, labels, targets, norm):
  """Plane h = 0 at x: returns (h [B], its gradient [B, D])."""
  classes = jnp.arange(len(x))

  if targets is not None:

    def value(x):
      logits = logits_fn(x)
      h = logits[classes, targets] - logits[classes, labels]
      return jnp.sum(h), h

    g, h = jax.grad(value, has_aux=True)(x)
    return h, g.reshape(len(x), -1)

  logits, pull = jax.vjp(logits_fn, x)
  count = logits.shape[-1]
  jacobian = jax.vmap(
    lambda c: pull(jnp.zeros_like(logits).at[:, c].set(1))[0]
  )(jnp.arange(count))
  jacobian = jacobian.reshape(count, len(x), -1).swapaxes(0, 1)
  h = logits - logits[classes, labels][:, None]
  g = jacobian - jacobian[classes, labels][:, None]
  dual = {'Linf': 'L1', 'L2': 'L2', 'L1': 'Linf'}[norm]
  length = jax.vmap(lambda rows: projections.norm_of(rows, dual))(g)
  distance = jnp.abs(h) / (length + 1e-12)
  distance = distance.at[classes, labels].set(jnp.inf)
  nearest = jnp.argmin(distance, axis=-1)
  return h[classes, nearest], g[classes, nearest]


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
  """One run of FAB.

  Args:
    logits_fn: images -> logits.
    images: [B, H, W, C] in [0, 1]; correctly classified ones.
    labels: int [B].
    key: one key, or one per example; used by a random start alone.
    epsilon: radius within which a point counts as broken; the search does not
      know it.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    targets: int [B], classes to go to; None takes the nearest plane of all.
    random_start: begin halfway to a random point of the ball, as restarts do.

  Returns:
    A `Result`.
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(labels, (len(images),))
  shape, clean = images.shape, images.reshape(len(images), -1)
  predicted = lambda x: jnp.argmax(logits_fn(x.reshape(shape)), axis=-1)
  keys = ascent.per_example(key, len(images))
  draw = lambda k: jax.random.normal(k, shape[1:])
  if norm == 'Linf':
    draw = lambda k: jax.random.uniform(k, shape[1:], minval=-1, maxval=1)
  noise = jax.vmap(draw)(keys).reshape(clean.shape)
  length = projections.norm_of(noise, norm)[:, None]
  away = jnp.clip(clean + 0.5 * epsilon * noise / length, 0, 1)
  x = jnp.where(random_start, away, clean)

  def body(_, state):
    x, best, distance = state
    h, g = _linearised(logits_fn, x.reshape(shape), labels, targets, norm)
    h, g = h.astype(jnp.float32), g.astype(jnp.float32)
    offset = jnp.sum(g * x, axis=-1) - h
    twice = lambda v: jnp.concatenate([v, v])
    moves = projections.plane_in_box(
      jnp.concatenate([x, clean]), twice(g), twice(offset), norm=norm
    )
    lengths = jnp.maximum(projections.norm_of(moves, norm), 1e-8)
    (move, clean_move) = jnp.split(moves, 2)
    (length, clean_length) = jnp.split(lengths, 2)
    alpha = jnp.minimum(length / (length + clean_length), _ALPHA_MAX)[:, None]
    x = (1 - alpha) * (x + _OVERSHOOT * move)
    x = jnp.clip(x + alpha * (clean + _OVERSHOOT * clean_move), 0, 1)
    wrong = predicted(x) != labels
    now = projections.norm_of(x - clean, norm)
    nearer = wrong & (now < distance)
    best = jnp.where(nearer[:, None], x, best)
    distance = jnp.where(nearer, now, distance)
    # Back towards the image, to look for the boundary nearer to it.
    x = jnp.where(wrong[:, None], clean + _BACKWARD * (x - clean), x)
    return x, best, distance

  far = jnp.full(len(images), _FAR, jnp.float32)
  _, best, distance = jax.lax.fori_loop(0, steps, body, (x, clean, far))
  broken = distance <= epsilon
  found = jnp.where(broken[:, None], best, clean).reshape(shape)
  return Result(found, broken, distance)
