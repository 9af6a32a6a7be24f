"""Exact projections that attacks need: on balls, and on planes in a box.

Points are float32 in the box [0, 1]^D, flat [B, D] unless told otherwise.
"""

import chex
import jax
import jax.numpy as jnp

NORMS = ('Linf', 'L2', 'L1')

# The step count is finite; few pieces are ever visited.
_NEWTON_STEPS = 50
# Halvings of an interval of length at most max |v|: past float32.
_BISECTIONS = 50


def norm_of(
  delta: chex.Array, norm: str, *, keepdims: bool = False
) -> chex.Array:
  """Returns the norm of each example of [B, ...].

  Args:
    delta: [B, ...].
    norm: 'Linf', 'L2' or 'L1'.
    keepdims: give [B, 1, ...] instead of [B].
  """
  reduced = {'axis': tuple(range(1, delta.ndim)), 'keepdims': keepdims}
  if norm == 'Linf':
    return jnp.max(jnp.abs(delta), **reduced)
  if norm == 'L2':
    return jnp.sqrt(jnp.sum(jnp.square(delta), **reduced))
  return jnp.sum(jnp.abs(delta), **reduced)


def project(
  images: chex.Array,
  center: chex.Array,
  *,
  epsilon: chex.Numeric,
  norm: str,
) -> chex.Array:
  """Puts images into the ball around `center` and into [0, 1].

  In L1 that is the nearest such point in L2; in L2 and Linf they are put into
  the ball and then into the box, which keeps them in the ball: a point of it
  moves towards the centre, which is in the box.

  Args:
    images, center: [B, H, W, C].
    epsilon: radius.
    norm: 'Linf', 'L2' or 'L1'.

  Returns:
    [B, H, W, C].
  """
  if norm == 'Linf':
    inside = jnp.clip(images, center - epsilon, center + epsilon)
  elif norm == 'L2':
    delta = images - center
    length = norm_of(delta, norm, keepdims=True)
    inside = center + delta * jnp.minimum(1, epsilon / (length + 1e-12))
  else:
    flat = lambda x: x.reshape(len(x), -1)
    delta = l1_ball_and_box(flat(center), flat(images - center), epsilon)
    inside = center + delta.reshape(center.shape)
  return jnp.clip(inside, 0, 1)


def l1_ball_and_box(
  center: chex.Array, delta: chex.Array, epsilon: chex.Numeric
) -> chex.Array:
  """Projects center + delta on the L1 ball around center within the box.

  The nearest point in L2 shortens every coordinate by one amount and then
  cuts it at the box; the amount is found by bisection.

  Args:
    center: [B, D] in [0, 1].
    delta: [B, D].
    epsilon: radius, a number or [B].

  Returns:
    [B, D], the projected delta.

  Reference:
    Croce and Hein, Mind the Box: l1-APGD for Sparse Adversarial Attacks on
    Image Classifiers, 2021.
  """
  chex.assert_equal_shape([center, delta])
  size = jnp.abs(delta)
  room = jnp.where(delta > 0, 1 - center, center)
  epsilon = jnp.broadcast_to(epsilon, size.shape[:1])
  kept = lambda cut: jnp.minimum(jnp.maximum(size - cut[:, None], 0), room)

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    too_long = kept(middle).sum(-1) > epsilon
    return jnp.where(too_long, middle, low), jnp.where(too_long, high, middle)

  zero = jnp.zeros_like(epsilon)
  _, high = jax.lax.fori_loop(
    0, _BISECTIONS, halve, (zero, jnp.max(size, axis=-1))
  )
  fits = kept(zero).sum(-1) <= epsilon
  return jnp.sign(delta) * kept(jnp.where(fits, zero, high))


def _oriented(points, normals, offsets):
  """Normals along which every point has to go down, and by how much."""
  ahead = jnp.sum(normals * points, axis=-1) - offsets
  sign = jnp.where(ahead < 0, -1.0, 1.0)
  return normals * sign[:, None], ahead * sign


def _newton(weights, rates, room, need):
  """Solves sum(weights * min(rates * t, room)) = need for t, per row.

  The sum is concave and piecewise linear in t: Newton's method goes up to the
  root and ends on it, and where there is none it ends with all room used.
  """

  def used(t):
    return jnp.minimum(rates * t[:, None], room)

  def step(state):
    t, _, count = state
    free = rates * t[:, None] < room
    missing = need - jnp.sum(weights * used(t), axis=-1)
    slope = jnp.sum(jnp.where(free, weights * rates, 0), axis=-1)
    more = jnp.where((slope > 0) & (missing > 0), missing, 0)
    new = t + more / jnp.where(slope > 0, slope, 1)
    return new, jnp.any(new > t), count + 1

  start = (jnp.zeros_like(need), jnp.bool_(True), 0)
  t, _, _ = jax.lax.while_loop(
    lambda state: state[1] & (state[2] < _NEWTON_STEPS), step, start
  )
  return used(t)


def _greedy(weights, room, need):
  """Spends room where the weight is largest first."""
  order = jnp.argsort(-weights, axis=-1)
  sorted_weights = jnp.take_along_axis(weights, order, -1)
  sorted_room = jnp.take_along_axis(room, order, -1)
  gain = sorted_weights * sorted_room
  before = jnp.cumsum(gain, axis=-1) - gain
  left = jnp.clip(need[:, None] - before, 0, gain)
  positive = sorted_weights > 0
  spent = jnp.where(positive, left / jnp.where(positive, sorted_weights, 1), 0)
  spent = jnp.minimum(spent, sorted_room)
  back = jnp.argsort(order, axis=-1)
  return jnp.take_along_axis(spent, back, -1)


def plane_in_box(
  points: chex.Array, normals: chex.Array, offsets: chex.Array, *, norm: str
) -> chex.Array:
  """Returns the shortest move of each point onto a plane within the box.

  Where the plane does not meet the box, the move to the corner nearest to it.

  Args:
    points: [B, D] in [0, 1].
    normals, offsets: [B, D] and [B], the planes <normal, z> = offset.
    norm: in which the move is shortest: 'Linf', 'L2' or 'L1'.

  Returns:
    [B, D], the move.

  Reference:
    Croce and Hein, Minimally Distorted Adversarial Examples with a Fast
    Adaptive Boundary Attack, 2020.
  """
  chex.assert_equal_shape([points, normals])
  down, need = _oriented(points, normals, offsets)
  weights = jnp.abs(down)
  room = jnp.where(down > 0, points, 1 - points)
  room = jnp.where(down == 0, 0, room)
  if norm == 'Linf':
    spent = _newton(weights, jnp.ones_like(weights), room, need)
  elif norm == 'L2':
    # A coordinate of no weight would have to go infinitely far.
    moved = jnp.where(weights < 1e-8, 0, weights)
    spent = _newton(moved, moved, room, need)
  else:
    spent = _greedy(weights, room, need)
  return -jnp.sign(down) * spent
