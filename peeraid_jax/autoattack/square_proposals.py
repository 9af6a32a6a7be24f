"""Square's random perturbations of one image: the first, and later ones.

Linf changes windows by a random sign per channel. L2 and L1 move the
perturbation of one window to another one, shaped as two bumps.

Reference: see `square`.
"""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.attacks import projections


def _random_signs(key, shape):
  return jnp.where(jax.random.bernoulli(key, shape=shape), 1.0, -1.0)


def _lengths(x, norm, axes):
  """Returns L2 or L1 norms over some axes, which stay as axes of size 1."""
  if norm == 'L2':
    return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))
  return jnp.sum(jnp.abs(x), axes, keepdims=True)


def _apply(image, delta, *, epsilon, norm):
  """Adds a perturbation that fills the L2 or L1 ball; [H, W, C] each."""
  if norm == 'L2':
    length = _lengths(delta, norm, (0, 1, 2))
    return jnp.clip(image + epsilon * delta / (length + 1e-12), 0, 1)
  # The radius is slightly smaller, as in AutoAttack: rounding must not lead
  # out of the ball.
  projected = projections.project(
    (image + delta)[None],
    image[None],
    epsilon=epsilon * (1 - 1e-6),
    norm=norm,
  )
  return projected[0]


def stripes(image, key, *, epsilon) -> chex.Array:
  """Returns the first perturbed image in Linf: vertical stripes, [H, W, C].

  Args:
    image: [H, W, C], clean.
    key: of the signs.
    epsilon: radius of the ball.
  """
  _, width, channels = image.shape
  signs = _random_signs(key, (1, width, channels))
  return jnp.clip(image + epsilon * signs, 0, 1)


def grid(image, key, tile, *, epsilon, norm) -> chex.Array:
  """Returns the first perturbed image in L2 and L1: a grid, [H, W, C].

  Args:
    image: [H, W, C], clean.
    key: of the signs, and of which tiles are transposed.
    tile: [S, S], two bumps, with S = H // 5.
    epsilon: radius of the ball.
    norm: 'L2' or 'L1'.
  """
  height, width, channels = image.shape
  side = len(tile)
  top, left = (height - side * 5) // 2, (width - side * (width // side)) // 2
  rows, columns = height // side, width // side
  rows = min(rows, (height - top) // side)
  columns = min(columns, (width - left) // side)
  tile = jnp.asarray(tile)
  flip_key, sign_key = jax.random.split(key)
  transposed = jax.random.bernoulli(flip_key, shape=(rows, columns, 1, 1))
  tiles = jnp.where(transposed, tile.T, tile)
  pattern = tiles.transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
  signs = _random_signs(sign_key, (rows, columns, channels))
  signs = jnp.repeat(jnp.repeat(signs, side, 0), side, 1)
  patch = pattern[..., None] * signs
  delta = jnp.zeros_like(image)
  delta = jax.lax.dynamic_update_slice(delta, patch, (top, left, 0))
  return _apply(image, delta, epsilon=epsilon, norm=norm)


def window(key, side, shape):
  """Draws a square window.

  Args:
    key: of the position.
    side: of the window, in pixels; may be traced.
    shape: (H, W) of the image.

  Returns:
    (bool mask [H, W], (top, left) corner).
  """
  height, width = shape
  u = jax.random.uniform(key, (2,))
  # As in the authors' code, the last possible position is never drawn.
  room = jnp.array([height, width]) - side
  top, left = jnp.floor(u * room).astype(jnp.int32)
  rows = jnp.arange(height)[:, None] - top
  columns = jnp.arange(width)[None, :] - left
  inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
  return inside, (top, left)


def _bump_at(corner, canvas, transposed):
  """Returns the canvas with its bumps, perhaps transposed, moved to a corner.

  Args:
    corner: (top, left).
    canvas: [H, W], as in `proposal`.
    transposed: whether the bumps lie side by side, and not one above the
      other.
  """
  # Only a square can be transposed: of other canvases, the largest square in
  # the upper left, which holds the bumps.
  size = min(canvas.shape)
  square = canvas[:size, :size]
  canvas = canvas.at[:size, :size].set(jnp.where(transposed, square.T, square))
  return jnp.roll(canvas, corner, (0, 1))


def proposal(image, best, key, side, canvas, *, epsilon, norm) -> chex.Array:
  """Returns the next candidate of one image, [H, W, C].

  Args:
    image: [H, W, C], clean.
    best: [H, W, C], the candidate with the smallest margin so far.
    key: of this query.
    side: of the window, in pixels.
    canvas: [H, W], two bumps in the upper left corner, 0 elsewhere; L2 and L1
      alone use it.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.
  """
  height, width, channels = image.shape
  place_key, sign_key, other_key, turn_key = jax.random.split(key, 4)
  inside, corner = window(place_key, side, (height, width))
  signs = _random_signs(sign_key, (1, 1, channels))
  if norm == 'Linf':
    moved = best + 2 * epsilon * signs * inside[..., None]
    moved = jnp.clip(moved, image - epsilon, image + epsilon)
    return jnp.clip(moved, 0, 1)
  inside = inside[..., None]
  other, _ = window(other_key, side, (height, width))
  delta = best - image
  both = inside | other[..., None]
  transposed = jax.random.bernoulli(turn_key)
  bump = _bump_at(corner, canvas, transposed)[..., None] * signs
  old = jnp.where(inside, delta, 0)
  new = bump + old / (_lengths(old, norm, (0, 1)) + 1e-12)
  new = jnp.where(inside, new, 0)
  # The first window gets the perturbation of both windows, and what is left
  # of epsilon; the second window becomes 0.
  held = _lengths(jnp.where(both, delta, 0), norm, (0, 1))
  used = _lengths(delta, norm, (0, 1, 2))
  if norm == 'L2':
    unused = jnp.maximum(epsilon**2 - used**2, 0) / channels
    budget = jnp.sqrt(unused + held**2)
  else:
    # With several channels this exceeds epsilon, as in AutoAttack; the
    # projection decides what stays.
    budget = jnp.maximum(epsilon - used, 0) + channels * held
  new *= budget / (_lengths(new, norm, (0, 1)) + 1e-12)
  delta = jnp.where(inside, new, jnp.where(both, 0, delta))
  return _apply(image, delta, epsilon=epsilon, norm=norm)
