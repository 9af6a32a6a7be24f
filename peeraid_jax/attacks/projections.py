"""Exact projections: onto a norm's ball, and onto planes within a box.

Points are float32 in the box [0, 1]^D. Most functions take them flat, [B, D].
"""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import checks

NORMS = ('Linf', 'L2', 'L1')

# A bound for the loop; Newton's method ends after a few steps.
_NEWTON_STEPS = 50
# 2^-50 of the initial interval is far below float32's precision.
_BISECTIONS = 50


def norm_of(
  delta: chex.Array, norm: str, *, keepdims: bool = False
) -> chex.Array:
  """Returns the norm of each example of [B, ...].

  Args:
    delta: [B, ...].
    norm: 'Linf', 'L2' or 'L1'.
    keepdims: return [B, 1, ...] instead of [B].

  Raises:
    ValueError: unknown norm.
  """
  checks.one_of('norm', norm, NORMS)
  over_example = {'axis': tuple(range(1, delta.ndim)), 'keepdims': keepdims}
  if norm == 'Linf':
    return jnp.max(jnp.abs(delta), **over_example)
  if norm == 'L2':
    return jnp.sqrt(jnp.sum(jnp.square(delta), **over_example))
  return jnp.sum(jnp.abs(delta), **over_example)


def project(
  images: chex.Array,
  center: chex.Array,
  *,
  epsilon: chex.Numeric,
  norm: str,
) -> chex.Array:
  """Projects images onto the ball around `center`, within [0, 1].

  In L1 the result is the point of ball and box that is nearest in L2. In L2
  and Linf, images are projected onto the ball and then clipped to the box.
  They stay in the ball, because clipping moves no pixel away from the centre,
  which is in the box.

  Args:
    images, center: [B, H, W, C].
    epsilon: radius.
    norm: 'Linf', 'L2' or 'L1'.

  Returns:
    [B, H, W, C].

  Raises:
    ValueError: unknown norm.
  """
  checks.one_of('norm', norm, NORMS)
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
  """Projects center + delta onto the L1 ball around center, within the box.

  The nearest point in L2 shortens every coordinate of delta by the same
  amount, and then cuts it at the box. Bisection finds the amount.

  Args:
    center: [B, D] in [0, 1].
    delta: [B, D].
    epsilon: radius, a number or [B].

  Returns:
    [B, D], the projected delta; center + delta is the projection.

  Reference:
    Croce and Hein, Mind the Box: l1-APGD for Sparse Adversarial Attacks on
    Image Classifiers, 2021.
  """
  chex.assert_equal_shape([center, delta])
  size = jnp.abs(delta)
  room = jnp.where(delta > 0, 1 - center, center)
  epsilon = jnp.broadcast_to(epsilon, size.shape[:1])
  shortened = lambda cut: jnp.minimum(jnp.maximum(size - cut[:, None], 0), room)

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    too_long = shortened(middle).sum(-1) > epsilon
    return jnp.where(too_long, middle, low), jnp.where(too_long, high, middle)

  zero = jnp.zeros_like(epsilon)
  _, high = jax.lax.fori_loop(
    0, _BISECTIONS, halve, (zero, jnp.max(size, axis=-1))
  )
  fits = shortened(zero).sum(-1) <= epsilon
  return jnp.sign(delta) * shortened(jnp.where(fits, zero, high))


def _oriented(points, normals, offsets):
  """Turns planes so that every point is on the normal's side.

  Returns:
    (normals [B, D], by how much <normal, point> has to fall [B], at least 0).
  """
  excess = jnp.sum(normals * points, axis=-1) - offsets
  sign = jnp.where(excess < 0, -1.0, 1.0)
  return normals * sign[:, None], excess * sign


def _newton(weights, rates, room, need):
  """Returns min(rates * t, room), t the root of sum(weights * it) = need.

  The sum is concave and piecewise linear in t, so Newton's method from t = 0
  rises to the root and ends on it. Where there is no root, it ends with all
  room used.

  Args:
    weights, rates, room: [B, D], not negative.
    need: [B].

  Returns:
    [B, D], how far each coordinate moves.
  """

  def moved(t):
    return jnp.minimum(rates * t[:, None], room)

  def step(state):
    t, _, count = state
    free = rates * t[:, None] < room
    missing = need - jnp.sum(weights * moved(t), axis=-1)
    slope = jnp.sum(jnp.where(free, weights * rates, 0), axis=-1)
    lacking = jnp.where((slope > 0) & (missing > 0), missing, 0)
    new = t + lacking / jnp.where(slope > 0, slope, 1)
    return new, jnp.any(new > t), count + 1

  start = (jnp.zeros_like(need), jnp.bool_(True), 0)
  t, _, _ = jax.lax.while_loop(
    lambda state: state[1] & (state[2] < _NEWTON_STEPS), step, start
  )
  return moved(t)


def _greedy(weights, room, need):
  """Returns moves with sum(weights * moves) = need of the least total length.

  They use the room of the coordinates with the largest weights first.

  Args:
    weights, room: [B, D], not negative.
    need: [B].

  Returns:
    [B, D], how far each coordinate moves.
  """
  order = jnp.argsort(-weights, axis=-1)
  sorted_weights = jnp.take_along_axis(weights, order, -1)
  sorted_room = jnp.take_along_axis(room, order, -1)
  gain = sorted_weights * sorted_room
  before = jnp.cumsum(gain, axis=-1) - gain
  left = jnp.clip(need[:, None] - before, 0, gain)
  positive = sorted_weights > 0
  moves = jnp.where(positive, left / jnp.where(positive, sorted_weights, 1), 0)
  moves = jnp.minimum(moves, sorted_room)
  inverse_order = jnp.argsort(order, axis=-1)
  return jnp.take_along_axis(moves, inverse_order, -1)


def plane_in_box(
  points: chex.Array, normals: chex.Array, offsets: chex.Array, *, norm: str
) -> chex.Array:
  """Returns the shortest move of each point onto a plane within the box.

  Where the plane does not meet the box, the move ends in the box's corner
  nearest to the plane.

  Args:
    points: [B, D] in [0, 1].
    normals, offsets: [B, D] and [B], the planes <normal, z> = offset.
    norm: of the move's length: 'Linf', 'L2' or 'L1'.

  Returns:
    [B, D], the move; point + move is on the plane.

  Reference:
    Croce and Hein, Minimally Distorted Adversarial Examples with a Fast
    Adaptive Boundary Attack, 2020.
  """
  chex.assert_equal_shape([points, normals])
  normals, need = _oriented(points, normals, offsets)
  weights = jnp.abs(normals)
  # How far each coordinate can move against the normal within the box.
  room = jnp.where(normals > 0, points, 1 - points)
  room = jnp.where(normals == 0, 0, room)
  if norm == 'Linf':
    moves = _newton(weights, jnp.ones_like(weights), room, need)
  elif norm == 'L2':
    # A coordinate of almost no weight would have to move infinitely far.
    weights = jnp.where(weights < 1e-8, 0, weights)
    moves = _newton(weights, weights, room, need)
  else:
    moves = _greedy(weights, room, need)
  return -jnp.sign(normals) * moves
