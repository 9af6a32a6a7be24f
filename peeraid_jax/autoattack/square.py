"""Square: random search with square windows; it uses no gradients.

Reference:
  Andriushchenko et al., Square Attack: a Query-efficient Black-box
  Adversarial Attack via Random Search, 2020; schedule and windows of
  AutoAttack. AutoAttack draws one window for a whole batch; here, as in the
  paper, every image draws its own, so that a result does not depend on the
  batch.
"""

import functools
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import images as images_lib
from peeraid_jax import losses
from peeraid_jax.attacks import ascent
from peeraid_jax.autoattack import square_proposals

# The share of pixels that the first queries change; it is halved after each
# of the queries below.
_FIRST_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class State(flax.struct.PyTreeNode):
  """The best candidates so far.

  Attributes:
    images: [B, H, W, C].
    margin: [B], logit of the label - largest other logit; negative where
      misclassified.
  """

  images: chex.Array
  margin: chex.Array


class Result(NamedTuple):
  """The result of Square.

  Attributes:
    images: [B, H, W, C], misclassified images, or the clean image where there
      is none.
    broken: bool [B], whether there is one.
  """

  images: chex.Array
  broken: chex.Array


def share(query: int) -> float:
  """Returns the share of pixels that a query changes; queries are from 0."""
  return _FIRST_SHARE / 2 ** sum(query > start for start in _HALVINGS)


def sides(queries: int, shape, norm: str) -> list[int]:
  """Returns the side of the window of each query, in pixels.

  Args:
    queries: of the whole attack.
    shape: (H, W) of an image.
    norm: in L2 and L1 sides are odd, and at least 3.
  """
  height, width = shape
  window_sides = []
  for query in range(queries):
    side = int(round(np.sqrt(share(query) * height * width)))
    if norm != 'Linf':
      side = max(side, 3)
      side += 1 - side % 2
    side = max(side, 1)
    window_sides.append(min(side, height, width))
  return window_sides


def _pyramid(height: int, width: int, power: int) -> np.ndarray:
  """Stacks nested rectangles; the k-th from inside is 1 / k^power high."""
  bump = np.zeros((height, width))
  row, column = height // 2, width // 2
  for k in range(max(row, column) + 1):
    top, left = row - k, column - k
    inner = slice(max(top, 0), min(row + k + 1, height))
    bump[inner, max(left, 0) : min(column + k + 1, width)] += (
      1 / (k + 1) ** power
    )
  return bump


def _length(values: np.ndarray, norm: str) -> float:
  """Returns the L2 or L1 norm."""
  if norm == 'L2':
    return np.sqrt(np.square(values).sum())
  return np.abs(values).sum()


def bumps(side: int, norm: str) -> np.ndarray:
  """Returns a positive bump above a negative one, of length 1 together.

  Args:
    side: of the square [side, side] that they share.
    norm: 'L2' or 'L1', of the length.
  """
  power = 2 if norm == 'L2' else 4
  square = np.zeros((side, side))
  half = side // 2
  for rows, sign in ((slice(0, half), 1), (slice(half, side), -1)):
    bump = _pyramid(rows.stop - rows.start, side, power)
    if bump.size:
      square[rows] = sign * bump / _length(bump, norm)
  return (square / _length(square, norm)).astype(np.float32)


def _windows(queries: int, shape, norm: str):
  """Returns the side of each query's window, and the bumps for it.

  Args:
    queries: of the whole attack.
    shape: (H, W) of an image.
    norm: in Linf there are no bumps; canvases are 0.

  Returns:
    (sides, int [queries]; index of the canvas, int [queries]; canvases
    [S, H, W], one per different side, with bumps in the upper left corner).
  """
  every_side = sides(queries, shape, norm)
  distinct = sorted(set(every_side))
  index = [distinct.index(side) for side in every_side]
  canvases = np.zeros((len(distinct), *shape), np.float32)
  if norm != 'Linf':
    for canvas, side in zip(canvases, distinct, strict=True):
      canvas[:side, :side] = bumps(side, norm)
  return jnp.array(every_side), jnp.array(index), jnp.asarray(canvases)


def _margins(logits, labels):
  """Returns the label's lead, [B]; -inf where there is no prediction."""
  lead = losses.lead(logits, labels).astype(jnp.float32)
  return jnp.where(images_lib.predicted(logits) < 0, -jnp.inf, lead)


def check_size(shape, norm: str) -> None:
  """Checks that images are large enough.

  Args:
    shape: (H, W, C) of an image.
    norm: 'Linf', 'L2' or 'L1'.

  Raises:
    ValueError: a side is smaller than 5 pixels, in L2 or L1.
  """
  if norm != 'Linf' and min(shape[:2]) < 5:
    raise ValueError(
      f'Square in {norm} starts from a grid of 5x5 tiles: images of '
      f'{shape[0]}x{shape[1]} pixels are too small'
    )


def begin(
  logits_fn, images, labels, key, *, epsilon: float, norm: str = 'Linf'
) -> State:
  """Returns the state after the first, coarse perturbation.

  Args:
    logits_fn: images -> logits.
    images: [B, H, W, C] in [0, 1].
    labels: int [B].
    key: one key, or one per image.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.

  Raises:
    ValueError: images are smaller than 5 pixels, in L2 or L1.
  """
  shape = images.shape[1:]
  check_size(shape, norm)
  keys = ascent.per_example(key, len(images))
  tile = None if norm == 'Linf' else bumps(shape[0] // 5, norm)

  def first_of(image, key):
    key = jax.random.fold_in(key, 0)
    if norm == 'Linf':
      return square_proposals.stripes(image, key, epsilon=epsilon)
    return square_proposals.grid(image, key, tile, epsilon=epsilon, norm=norm)

  first = jax.vmap(first_of)(images, keys)
  return State(first, _margins(logits_fn(first), labels))


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
  """Takes `count` queries; stops when all images are misclassified.

  Args:
    logits_fn, images, labels, key, epsilon, norm: as in `begin`.
    state: after all queries before.
    first_query: number of the first query to take, from 0.
    count: static.
    queries: of the whole attack; queries beyond it are not taken.
  """
  keys = ascent.per_example(key, len(images))
  side_of, canvas_of, canvases = _windows(queries, images.shape[1:3], norm)
  end = jnp.minimum(first_query + count, queries)
  propose = functools.partial(
    square_proposals.proposal, epsilon=epsilon, norm=norm
  )

  def take_query(carry):
    query, state = carry

    def candidate_of(image, best, key):
      key = jax.random.fold_in(key, query + 1)
      return propose(
        image, best, key, side_of[query], canvases[canvas_of[query]]
      )

    candidates = jax.vmap(candidate_of)(images, state.images, keys)
    margin = _margins(logits_fn(candidates), labels)
    # At a margin of 0 two logits tie. This ends the search for the image, as
    # a negative margin does; `result` decides by the predicted class.
    better = (margin < state.margin) | (margin <= 0)
    better &= state.margin > 0
    pick = better[:, None, None, None]
    state = State(
      jnp.where(pick, candidates, state.images),
      jnp.where(better, margin, state.margin),
    )
    return query + 1, state

  def unfinished(carry):
    query, state = carry
    return (query < end) & jnp.any(state.margin > 0)

  start = (jnp.asarray(first_query, jnp.int32), state)
  return jax.lax.while_loop(unfinished, take_query, start)[1]


def result(logits_fn, images, labels, state: State) -> Result:
  """Returns misclassified images, and the clean ones of all other points."""
  broken = images_lib.predicted(logits_fn(state.images)) != labels
  final = jnp.where(broken[:, None, None, None], state.images, images)
  return Result(final, broken)


def square(
  logits_fn, images, labels, key, *, epsilon, norm='Linf', queries=5000
) -> Result:
  """Runs the whole attack.

  Args:
    logits_fn, images, labels, key, epsilon, norm: as in `begin`.
    queries: forward passes per image.

  Raises:
    ValueError: images are smaller than 5 pixels, in L2 or L1.
  """
  points = (logits_fn, images, labels)
  ball = {'epsilon': epsilon, 'norm': norm}
  state = begin(*points, key, **ball)
  state = advance(*points, key, state, 0, queries, queries=queries, **ball)
  return result(*points, state)
