"""APGD: gradient ascent that chooses its own step, in Linf, L2 and L1.

Reference:
  Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
  Ensemble of Diverse Parameter-free Attacks, 2020; for L1, Mind the Box:
  l1-APGD for Sparse Adversarial Attacks on Image Classifiers, 2021. Where
  paper and authors' code differ, the code is followed.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from peeraid_jax.attacks import ascent, projections

_MOMENTUM = 0.75
_RHO = 0.75

# (images [B, H, W, C], keys [B]) -> logits [B, K]; most ignore the keys
KeyedLogitsFn = Callable[[chex.Array, chex.PRNGKey], chex.Array]


class Result(NamedTuple):
  """What a run of APGD found.

  Attributes:
    images: [B, H, W, C], a misclassified iterate, or the clean image where
      there was none: with `stop_early` the first one, so that it does not
      depend on the other images of the batch, otherwise the last one.
    broken: bool [B], whether there was one.
    best: [B, H, W, C], the iterate of the largest loss.
    best_loss: [B], that loss.
    zero_gradient: bool [B], whether the first gradient was exactly 0.
  """

  images: chex.Array
  broken: chex.Array
  best: chex.Array
  best_loss: chex.Array
  zero_gradient: chex.Array


class _State(flax.struct.PyTreeNode):
  """Of each image; x and g belong together."""

  iteration: chex.Array
  x: chex.Array
  x_before: chex.Array
  g: chex.Array
  x_best: chex.Array
  g_best: chex.Array
  loss: chex.Array
  best_loss: chex.Array
  adv: chex.Array
  broken: chex.Array
  step_size: chex.Array
  # Since the last checkpoint: increases of the loss, best loss at it, and
  # whether the step was reduced there.
  increases: chex.Array
  best_at_check: chex.Array
  reduced: chex.Array
  # L1 alone, as whole numbers, which round alike everywhere: the rank of the
  # smallest derivative whose coordinate moves, and how many had moved.
  rank: chex.Array
  moved_before: chex.Array


def checkpoints(steps: int) -> list[int]:
  """Returns the iterations (from 1) after which the step may be halved."""
  window = max(int(0.22 * steps), 1)
  smallest, shrink = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
  found, at = [], 0
  while at + window <= steps:
    at += window
    found.append(at)
    window = max(window - shrink, smallest)
  return found


def _schedule(steps: int):
  """Returns whether each iteration is a checkpoint, and its window."""
  is_check, window, last = [False] * steps, [1] * steps, 0
  for at in checkpoints(steps):
    is_check[at - 1], window[at - 1], last = True, at - last, at
  return jnp.array(is_check), jnp.array(window)


def _wide(value: chex.Array) -> chex.Array:
  """[B] -> [B, 1, 1, 1]."""
  return value[:, None, None, None]


def _pick(where, new, old):
  return jnp.where(_wide(where) if new.ndim > 1 else where, new, old)


def _flat(images):
  return images.reshape(len(images), -1)


def random_start(images, keys, *, epsilon, norm):
  """Returns a random point on the ball's surface, cut at the box.

  Args:
    images: [B, H, W, C] in [0, 1].
    keys: [B].
    epsilon: radius.
    norm: 'Linf', 'L2' or 'L1'.
  """
  shape = images.shape[1:]
  if norm == 'Linf':
    draw = lambda k: jax.random.uniform(k, shape, minval=-1, maxval=1)
  else:
    draw = lambda k: jax.random.normal(k, shape)
  noise = jax.vmap(draw)(keys)
  if norm != 'L1':
    # Onto the surface; in L1 the authors project noise of any length.
    length = projections.norm_of(noise, norm, keepdims=True)
    noise = epsilon * noise / (length + 1e-12)
  return projections.project(images + noise, images, epsilon=epsilon, norm=norm)


def _changed(images, center):
  """Returns how many coordinates differ, int [B]."""
  return jnp.sum(_flat(images != center), axis=-1, dtype=jnp.int32)


def _rank_of(moved, count: int):
  """From which rank on derivatives move: two thirds of what has moved."""
  return jnp.clip(count - (2 * moved + 2) // 3, 0, count - 1)


def _moved(state, center, *, epsilon, norm):
  """One step from x along g; Linf and L2 have momentum."""
  x, step = state.x, _wide(state.step_size)
  project = functools.partial(
    projections.project, center=center, epsilon=epsilon, norm=norm
  )
  if norm == 'L1':
    g = _flat(state.g)
    size = jnp.abs(g)
    threshold = jnp.take_along_axis(jnp.sort(size, -1), state.rank[:, None], -1)
    sparse = jnp.where(size >= threshold, jnp.sign(g), 0)
    length = jnp.sum(jnp.abs(sparse), axis=-1, keepdims=True) + 1e-10
    return project(x + step * (sparse / length).reshape(x.shape))
  before = x - state.x_before
  if norm == 'Linf':
    direction = jnp.sign(state.g)
  else:
    length = projections.norm_of(state.g, norm, keepdims=True)
    direction = state.g / (length + 1e-12)
  ahead = project(x + step * direction)
  share = jnp.where(state.iteration == 0, 1.0, _MOMENTUM)
  return project(x + share * (ahead - x) + (1 - share) * before)


def _halve(state: _State, is_check, window) -> _State:
  """At a checkpoint: halves steps that do not pay, and returns to the best."""
  oscillates = state.increases <= _RHO * window
  stuck = ~state.reduced & (state.best_at_check >= state.best_loss)
  halve = is_check & (oscillates | stuck)
  return state.replace(
    step_size=jnp.where(halve, state.step_size / 2, state.step_size),
    # x_before stays: the next momentum leads away from the best point.
    x=_pick(halve, state.x_best, state.x),
    g=_pick(halve, state.g_best, state.g),
    reduced=jnp.where(is_check, halve, state.reduced),
    best_at_check=jnp.where(is_check, state.best_loss, state.best_at_check),
    increases=jnp.where(is_check, 0, state.increases),
  )


def _sparsify(state: _State, center, is_check, *, epsilon) -> _State:
  """At a checkpoint in L1: fewer coordinates, or shorter steps."""
  moved = _changed(state.x_best, center)
  fewer = 20 * moved < 19 * state.moved_before
  step = jnp.where(fewer, epsilon, state.step_size / 1.5)
  back = is_check & fewer
  return state.replace(
    step_size=jnp.where(
      is_check, jnp.clip(step, epsilon / 10, epsilon), state.step_size
    ),
    rank=jnp.where(is_check, _rank_of(moved, center[0].size), state.rank),
    moved_before=jnp.where(is_check, moved, state.moved_before),
    x=_pick(back, state.x_best, state.x),
    g=_pick(back, state.g_best, state.g),
  )


def apgd(
  logits_fn: KeyedLogitsFn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  loss: Callable[[chex.Array], chex.Array],
  epsilon: chex.Numeric,
  norm: str = 'Linf',
  steps: int = 100,
  start: chex.Array | None = None,
  samples: int = 1,
  stop_early: bool = True,
) -> Result:
  """One run of APGD.

  Args:
    logits_fn: (images, keys) -> logits.
    images: [B, H, W, C] in [0, 1].
    labels: int [B].
    key: one key, or one per example.
    loss: logits [B, K] -> [B], maximised.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    start: [B, H, W, C], in the ball; None draws it.
    samples: gradients that are averaged at each step, of a network that
      draws (expectation over transformation).
    stop_early: end when all images of the batch are broken: the same ones
      are, only `best` may be an earlier iterate.

  Returns:
    A `Result`.
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(labels, (len(images),))
  keys = jax.vmap(jax.random.split)(ascent.per_example(key, len(images)))
  given = start is not None
  if not given:
    start = random_start(images, keys[:, 0], epsilon=epsilon, norm=norm)

  def evaluate(x, iteration):
    """Gradient of the sum; logits and loss of the last sample."""

    def value(x, draw):
      fold = jax.vmap(jax.random.fold_in, (0, None))
      logits = logits_fn(x, fold(keys[:, 1], iteration * samples + draw))
      values = loss(logits)
      return jnp.sum(values), (logits, values)

    gradient = jax.grad(value, has_aux=True)
    if samples == 1:
      g, (logits, values) = gradient(x, 0)
    else:

      def add(total, draw):
        g, aux = gradient(x, draw)
        return total + g, aux

      total, aux = jax.lax.scan(add, jnp.zeros_like(x), jnp.arange(samples))
      g = total / samples
      logits, values = jax.tree.map(lambda a: a[-1], aux)
    wrong = jnp.argmax(logits, axis=-1) != labels
    return g, values.astype(jnp.float32), wrong

  g, values, wrong = evaluate(start, 0)
  count = images[0].size
  ones = jnp.ones(len(images), jnp.float32)
  # A fifth of the coordinates, unless a start says more.
  moved = jnp.full(len(images), count, jnp.int32)
  rank = jnp.full(len(images), 4 * count // 5, jnp.int32)
  if given:
    moved = _changed(start, images)
    rank = _rank_of(moved, count)
  factor = 1 if norm == 'L1' else 2
  state = _State(
    iteration=jnp.int32(0),
    x=start,
    x_before=start,
    g=g,
    x_best=start,
    g_best=g,
    loss=jnp.zeros_like(values),
    best_loss=values,
    adv=start,
    broken=wrong,
    step_size=factor * epsilon * ones,
    increases=jnp.zeros_like(labels, dtype=jnp.int32),
    best_at_check=values,
    reduced=jnp.ones_like(wrong),
    rank=rank,
    moved_before=moved,
  )
  is_check, window = _schedule(steps)
  l1_window = max(int(0.04 * steps), 1)

  def body(state: _State) -> _State:
    i = state.iteration
    x = _moved(state, images, epsilon=epsilon, norm=norm)
    g, values, wrong = evaluate(x, i + 1)
    better = values > state.best_loss
    kept = wrong & ~state.broken if stop_early else wrong
    # The loss of the start is not in the authors' history: the first
    # comparison is with 0.
    state = state.replace(
      iteration=i + 1,
      x=x,
      x_before=state.x,
      g=g,
      x_best=_pick(better, x, state.x_best),
      g_best=_pick(better, g, state.g_best),
      best_loss=jnp.maximum(state.best_loss, values),
      increases=state.increases + (values > state.loss),
      loss=values,
      adv=_pick(kept, x, state.adv),
      broken=state.broken | wrong,
    )
    if norm == 'L1':
      now = (i + 1) % l1_window == 0
      return _sparsify(state, images, now, epsilon=epsilon)
    return _halve(state, is_check[i], window[i])

  def goes_on(state: _State):
    on = state.iteration < steps
    return on & ~jnp.all(state.broken) if stop_early else on

  last = jax.lax.while_loop(goes_on, body, state)
  return Result(
    images=_pick(last.broken, last.adv, images),
    broken=last.broken,
    best=last.x_best,
    best_loss=last.best_loss,
    zero_gradient=jnp.sum(jnp.abs(_flat(g)), axis=-1) == 0,
  )


def apgd_shrinking(
  logits_fn: KeyedLogitsFn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  epsilon: float,
  steps: int = 100,
  **settings,
) -> Result:
  """APGD in L1 with radii 3 epsilon, 2 epsilon, epsilon.

  Each stage starts from the best point of the one before, projected on its
  own ball; only the last one's success counts.

  Args:
    logits_fn, images, labels, key, epsilon, steps: as in `apgd`.
    **settings: its other settings but `norm` and `start`.

  Returns:
    The last stage's `Result`.
  """
  first = math.ceil(0.3 * steps)
  keys = ascent.per_example(key, len(images))
  fold = jax.vmap(jax.random.fold_in, (0, None))
  start = None
  for stage, (radius, count) in enumerate(
    ((3, first), (2, first), (1, steps - 2 * first))
  ):
    if start is not None:
      start = projections.project(
        start, images, epsilon=radius * epsilon, norm='L1'
      )
    last = stage == 2
    result = apgd(
      logits_fn,
      images,
      labels,
      fold(keys, stage),
      epsilon=radius * epsilon,
      norm='L1',
      steps=count,
      start=start,
      **{**settings, 'stop_early': last and settings.get('stop_early', True)},
    )
    start = result.best
  return result
