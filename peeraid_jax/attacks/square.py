"""Square: random search with square windows, without gradients.

Reference:
  Andriushchenko et al., Square Attack: a Query-efficient Black-box
  Adversarial Attack via Random Search, 2020; schedule and windows of
  AutoAttack. There, one window serves a whole batch; here, as in the paper,
  every image draws its own, so that a result does not depend on the batch.
"""

from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import losses
from peeraid_jax.attacks import ascent, projections

_P_INIT = 0.8
# The share of changed pixels is halved again from each of these queries on.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class State(flax.struct.PyTreeNode):
  """The best images so far, and their margins; negative is misclassified."""

  images: chex.Array
  margin: chex.Array


class Result(NamedTuple):
  """What Square found.

  Attributes:
    images: [B, H, W, C], misclassified ones, or the clean image.
    broken: bool [B].
  """

  images: chex.Array
  broken: chex.Array


def share(query: int) -> float:
  """Returns the share of pixels that a query changes."""
  return _P_INIT / 2 ** sum(query > at for at in _HALVINGS)


def sides(queries: int, shape, norm: str) -> list[int]:
  """Returns the side of the window of each query.

  Args:
    queries: how many.
    shape: (H, W) of an image.
    norm: in L2 and L1 sides are odd, and at least 3.
  """
  height, width = shape
  found = []
  for query in range(queries):
    side = int(round(np.sqrt(share(query) * height * width)))
    if norm != 'Linf':
      side = max(side, 3)
      side += 1 - side % 2
    side = max(side, 1)
    found.append(min(side, height, width))
  return found


def _pyramid(height: int, width: int, power: int) -> np.ndarray:
  """A bump of rectangles inside each other, each 1 / k^power high."""
  bump = np.zeros((height, width))
  rows, columns = height // 2, width // 2
  for k in range(max(rows, columns) + 1):
    top, left = rows - k, columns - k
    inner = slice(max(top, 0), min(rows + k + 1, height))
    bump[inner, max(left, 0) : min(columns + k + 1, width)] += (
      1 / (k + 1) ** power
    )
  return bump


def _length(values: np.ndarray, norm: str) -> float:
  if norm == 'L2':
    return np.sqrt(np.square(values).sum())
  return np.abs(values).sum()


def bumps(side: int, norm: str) -> np.ndarray:
  """Returns two bumps of opposite sign that share a square, of length 1."""
  power = 2 if norm == 'L2' else 4
  square = np.zeros((side, side))
  half = side // 2
  for rows, sign in ((slice(0, half), 1), (slice(half, side), -1)):
    bump = _pyramid(rows.stop - rows.start, side, power)
    if bump.size:
      square[rows] = sign * bump / _length(bump, norm)
  return (square / _length(square, norm)).astype(np.float32)


def _sign(key, shape):
  return jnp.where(jax.random.bernoulli(key, shape=shape), 1.0, -1.0)


def _lengths(x, norm, axes):
  if norm == 'L2':
    return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))
  return jnp.sum(jnp.abs(x), axes, keepdims=True)


def _scaled(images, delta, *, epsilon, norm):
  """Images with a perturbation that fills the ball; [H, W, C] each."""
  if norm == 'L2':
    length = _lengths(delta, norm, (0, 1, 2))
    return jnp.clip(images + epsilon * delta / (length + 1e-12), 0, 1)
  # A hair inside, as AutoAttack: rounding must not lead out of the ball.
  moved = projections.project(
    (images + delta)[None],
    images[None],
    epsilon=epsilon * (1 - 1e-6),
    norm=norm,
  )
  return moved[0]


def _first(image, key, *, epsilon, norm):
  """The first perturbed image: stripes in Linf, a grid of bumps else."""
  height, width, channels = image.shape
  if norm == 'Linf':
    stripes = _sign(key, (1, width, channels))
    return jnp.clip(image + epsilon * stripes, 0, 1)
  side = height // 5
  top, left = (height - side * 5) // 2, (width - side * (width // side)) // 2
  rows, columns = height // side, width // side
  rows = min(rows, (height - top) // side)
  columns = min(columns, (width - left) // side)
  tile = jnp.asarray(bumps(side, norm))
  flip_key, sign_key = jax.random.split(key)
  turned = jax.random.bernoulli(flip_key, shape=(rows, columns, 1, 1))
  tiles = jnp.where(turned, tile.T, tile)
  grid = tiles.transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
  signs = _sign(sign_key, (rows, columns, channels))
  signs = jnp.repeat(jnp.repeat(signs, side, 0), side, 1)
  patch = grid[..., None] * signs
  delta = jnp.zeros_like(image)
  delta = jax.lax.dynamic_update_slice(delta, patch, (top, left, 0))
  return _scaled(image, delta, epsilon=epsilon, norm=norm)


def _window(key, side, shape):
  """A random window, as a mask [H, W], and its corner."""
  height, width = shape
  u = jax.random.uniform(key, (2,))
  # The last place is never drawn, as in the authors' code.
  room = jnp.array([height, width]) - side
  top, left = jnp.floor(u * room).astype(jnp.int32)
  rows = jnp.arange(height)[:, None] - top
  columns = jnp.arange(width)[None, :] - left
  inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
  return inside, (top, left)


def _proposal(image, best, key, side, canvas, *, epsilon, norm):
  """One image's next candidate.

  Args:
    image, best: [H, W, C].
    key: of this query.
    side: of the window.
    canvas: [H, W], two bumps in the upper left corner; L2 and L1 alone.
    epsilon, norm: of the ball.
  """
  height, width, channels = image.shape
  place_key, sign_key, other_key, turn_key = jax.random.split(key, 4)
  inside, corner = _window(place_key, side, (height, width))
  signs = _sign(sign_key, (1, 1, channels))
  if norm == 'Linf':
    moved = best + 2 * epsilon * signs * inside[..., None]
    moved = jnp.clip(moved, image - epsilon, image + epsilon)
    return jnp.clip(moved, 0, 1)
  inside = inside[..., None]
  other, _ = _window(other_key, side, (height, width))
  delta = best - image
  both = inside | other[..., None]
  turned = jax.random.bernoulli(turn_key)
  # A square canvas may be turned; the corner of another one is cut to it.
  size = min(height, width)
  square = canvas[:size, :size]
  canvas = canvas.at[:size, :size].set(jnp.where(turned, square.T, square))
  bump = jnp.roll(canvas, corner, (0, 1))[..., None] * signs
  here = jnp.where(inside, delta, 0)
  new = bump + here / (_lengths(here, norm, (0, 1)) + 1e-12)
  new = jnp.where(inside, new, 0)
  # What the second window holds moves to the first, with the unused budget.
  held = _lengths(jnp.where(both, delta, 0), norm, (0, 1))
  used = _lengths(delta, norm, (0, 1, 2))
  if norm == 'L2':
    unused = jnp.maximum(epsilon**2 - used**2, 0) / channels
    budget = jnp.sqrt(unused + held**2)
  else:
    # More than there is, with several channels: the projection decides which
    # of it stays, as in AutoAttack.
    budget = jnp.maximum(epsilon - used, 0) + channels * held
  new *= budget / (_lengths(new, norm, (0, 1)) + 1e-12)
  delta = jnp.where(inside, new, jnp.where(both, 0, delta))
  return _scaled(image, delta, epsilon=epsilon, norm=norm)


def _lead(logits, labels):
  return losses.lead(logits, labels).astype(jnp.float32)


def _check(shape, norm):
  if norm != 'Linf' and min(shape[:2]) < 5:
    raise ValueError(
      f'Square in {norm} lays a grid of 5x5 tiles: images of {shape[0]}x'
      f'{shape[1]} are too small'
    )


def begin(
  logits_fn, images, labels, key, *, epsilon: float, norm: str = 'Linf'
) -> State:
  """Returns the state after the first, coarse perturbation.

  Args:
    logits_fn: images -> logits.
    images: [B, H, W, C] in [0, 1].
    labels: int [B].
    key: one key, or one per example.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.

  Raises:
    ValueError: images smaller than 5 pixels, in L2 or L1.
  """
  _check(images.shape[1:], norm)
  keys = ascent.per_example(key, len(images))
  first = jax.vmap(
    lambda x, k: _first(x, jax.random.fold_in(k, 0), epsilon=epsilon, norm=norm)
  )(images, keys)
  return State(first, _lead(logits_fn(first), labels))


def advance(
  logits_fn,
  images,
  labels,
  key,
  state: State,
  first_query: chex.Numeric,
  count: int,
  *,
  queries: int = 5000,
  epsilon: float,
  norm: str = 'Linf',
) -> State:
  """Takes `count` queries, from `first_query` on; ends when all are broken.

  Args:
    logits_fn, images, labels, key, epsilon, norm: as in `begin`.
    state: of the query before.
    first_query: counted from 0.
    count: static.
    queries: of the whole attack; queries beyond are not taken.
  """
  keys = ascent.per_example(key, len(images))
  height, width = images.shape[1:3]
  every = sides(queries, (height, width), norm)
  distinct = sorted(set(every))
  side_of = jnp.array(every)
  which = jnp.array([distinct.index(side) for side in every])
  canvases = np.zeros((len(distinct), height, width), np.float32)
  if norm != 'Linf':
    for canvas, side in zip(canvases, distinct, strict=True):
      canvas[:side, :side] = bumps(side, norm)
  canvases = jnp.asarray(canvases)
  end = jnp.minimum(first_query + count, queries)

  def body(carry):
    query, state = carry
    draw = jax.vmap(
      lambda x, best, k: _proposal(
        x,
        best,
        jax.random.fold_in(k, query + 1),
        side_of[query],
        canvases[which[query]],
        epsilon=epsilon,
        norm=norm,
      )
    )
    new = draw(images, state.images, keys)
    margin = _lead(logits_fn(new), labels)
    # A margin of 0 is a tie: taken, and asked again.
    better = (margin < state.margin) | (margin <= 0)
    better &= state.margin > 0
    pick = better[:, None, None, None]
    state = State(
      jnp.where(pick, new, state.images),
      jnp.where(better, margin, state.margin),
    )
    return query + 1, state

  def goes_on(carry):
    query, state = carry
    return (query < end) & jnp.any(state.margin > 0)

  _, state = jax.lax.while_loop(
    goes_on, body, (jnp.asarray(first_query, jnp.int32), state)
  )
  return state


def result(logits_fn, images, labels, state: State) -> Result:
  """Returns misclassified images, and the clean ones of other points."""
  predicted = jnp.argmax(logits_fn(state.images), axis=-1)
  broken = predicted != labels
  found = jnp.where(broken[:, None, None, None], state.images, images)
  return Result(found, broken)


def square(
  logits_fn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  epsilon: float,
  norm: str = 'Linf',
  queries: int = 5000,
) -> Result:
  """The whole attack.

  Args:
    logits_fn, images, labels, key, epsilon, norm: as in `begin`.
    queries: how often the network is asked.

  Returns:
    A `Result`.

  Raises:
    ValueError: as of `begin`.
  """
  settings = {'epsilon': epsilon, 'norm': norm}
  state = begin(logits_fn, images, labels, key, **settings)
  state = advance(
    logits_fn,
    images,
    labels,
    key,
    state,
    0,
    queries,
    queries=queries,
    **settings,
  )
  return result(logits_fn, images, labels, state)
