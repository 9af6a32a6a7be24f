"""The state of APGD, and the updates that one iteration makes to it.

Every image of a batch has a step size and a history of its own. Linf and L2
halve the step size at a few checkpoints (`halve`); L1 moves a few coordinates
only, and adapts their number at regular checkpoints (`sparsify`).

Reference: see `apgd`.
"""

import functools

import chex
import flax.struct
import jax.numpy as jnp

from peeraid_jax.attacks import projections

# alpha of the paper: the weight of the gradient step against the momentum.
_MOMENTUM = 0.75
# rho of the paper: the share of the iterations since the last checkpoint in
# which the loss should increase; otherwise the step size is halved.
_RHO = 0.75


class State(flax.struct.PyTreeNode):
  """The state of a batch; arrays are [B] or [B, H, W, C].

  Attributes:
    iteration: int, the same for the batch.
    x: the iterate.
    x_previous: the iterate before it, for the momentum.
    gradient: of the loss at `x`.
    x_best: the iterate with the largest loss.
    gradient_best: of the loss at `x_best`.
    loss: at the latest iterate; 0 before the first iteration.
    loss_best: at `x_best`.
    adversarial: a misclassified iterate, where `broken`.
    broken: whether an iterate was misclassified.
    step_size: of the next step.
    increases: iterations since the last checkpoint that increased the loss.
    loss_best_at_check: `loss_best` at the last checkpoint.
    halved_at_check: whether the last checkpoint halved the step size.
    rank: int, L1 alone: coordinates move if their absolute derivative is at
      least the one of this rank, 0 the smallest. It and `changed_at_check`
      are integers, so that rounding cannot differ between devices.
    changed_at_check: int, L1 alone: in how many coordinates `x_best` differed
      from the clean image at the last checkpoint.
  """

  iteration: chex.Array
  x: chex.Array
  x_previous: chex.Array
  gradient: chex.Array
  x_best: chex.Array
  gradient_best: chex.Array
  loss: chex.Array
  loss_best: chex.Array
  adversarial: chex.Array
  broken: chex.Array
  step_size: chex.Array
  increases: chex.Array
  loss_best_at_check: chex.Array
  halved_at_check: chex.Array
  rank: chex.Array
  changed_at_check: chex.Array


def _broadcastable(values: chex.Array) -> chex.Array:
  """[B] -> [B, 1, 1, 1]."""
  return values[:, None, None, None]


def pick(where: chex.Array, new: chex.Array, old: chex.Array) -> chex.Array:
  """Returns `new` for the images where a mask [B] is true, `old` elsewhere."""
  return jnp.where(_broadcastable(where) if new.ndim > 1 else where, new, old)


def flat(images: chex.Array) -> chex.Array:
  """[B, H, W, C] -> [B, H * W * C]."""
  return images.reshape(len(images), -1)


def is_number(images: chex.Array) -> chex.Array:
  """Returns whether no value of an image is NaN, bool [B]."""
  return ~jnp.any(jnp.isnan(flat(images)), axis=-1)


def _changed(images, clean):
  """Returns in how many coordinates each image was changed, int [B]."""
  return jnp.sum(flat(images != clean), axis=-1, dtype=jnp.int32)


def _rank_of(changed, size: int):
  """Returns the rank that moves 2/3 as many coordinates as were changed."""
  return jnp.clip(size - (2 * changed + 2) // 3, 0, size - 1)


def initial(
  images, start, gradient, losses, wrong, *, epsilon, norm, drawn: bool
) -> State:
  """Returns the state before the first iteration.

  Args:
    images: [B, H, W, C], the clean images.
    start: [B, H, W, C], the first iterate.
    gradient: [B, H, W, C], of the loss at `start`.
    losses: [B], at `start`.
    wrong: bool [B], whether `start` is misclassified.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.
    drawn: whether `start` is random. In L1 a random start moves a fifth of
      the coordinates at first; a given one, 2/3 as many as it changed.
  """
  size = images[0].size
  ones = jnp.ones(len(images), jnp.float32)
  changed = jnp.full(len(images), size, jnp.int32)
  rank = jnp.full(len(images), 4 * size // 5, jnp.int32)
  if not drawn:
    changed = _changed(start, images)
    rank = _rank_of(changed, size)
  factor = 1 if norm == 'L1' else 2
  return State(
    iteration=jnp.int32(0),
    x=start,
    x_previous=start,
    gradient=gradient,
    x_best=start,
    gradient_best=gradient,
    # The authors' history lacks the loss of the start: the first comparison
    # of `increases` is with 0.
    loss=jnp.zeros_like(losses),
    loss_best=losses,
    adversarial=start,
    broken=wrong,
    step_size=factor * epsilon * ones,
    increases=jnp.zeros(len(images), jnp.int32),
    loss_best_at_check=losses,
    halved_at_check=jnp.ones_like(wrong),
    rank=rank,
    changed_at_check=changed,
  )


def move(state: State, clean: chex.Array, *, epsilon, norm) -> chex.Array:
  """Takes one step along the gradient; Linf and L2 add momentum.

  Args:
    state: of the batch.
    clean: [B, H, W, C], centers of the ball.
    epsilon: its radius.
    norm: 'Linf', 'L2' or 'L1'.

  Returns:
    The next iterate, [B, H, W, C].
  """
  x, step = state.x, _broadcastable(state.step_size)
  project = functools.partial(
    projections.project, center=clean, epsilon=epsilon, norm=norm
  )
  if norm == 'L1':
    gradient = flat(state.gradient)
    size = jnp.abs(gradient)
    threshold = jnp.take_along_axis(jnp.sort(size, -1), state.rank[:, None], -1)
    sparse = jnp.where(size >= threshold, jnp.sign(gradient), 0)
    length = jnp.sum(jnp.abs(sparse), axis=-1, keepdims=True) + 1e-10
    return project(x + step * (sparse / length).reshape(x.shape))
  momentum = x - state.x_previous
  if norm == 'Linf':
    direction = jnp.sign(state.gradient)
  else:
    length = projections.norm_of(state.gradient, norm, keepdims=True)
    direction = state.gradient / (length + 1e-12)
  ahead = project(x + step * direction)
  weight = jnp.where(state.iteration == 0, 1.0, _MOMENTUM)
  return project(x + weight * (ahead - x) + (1 - weight) * momentum)


def record(state: State, x, gradient, losses, wrong, *, keep_first) -> State:
  """Returns the state after a step, before the checkpoint's rules.

  Args:
    state: before the step.
    x: [B, H, W, C], the new iterate.
    gradient: [B, H, W, C], of the loss at `x`.
    losses: [B], at `x`.
    wrong: bool [B], whether `x` is misclassified.
    keep_first: keep the first misclassified iterate instead of the last.
  """
  better = losses > state.loss_best
  kept = wrong & ~state.broken if keep_first else wrong
  return state.replace(
    iteration=state.iteration + 1,
    x=x,
    x_previous=state.x,
    gradient=gradient,
    x_best=pick(better, x, state.x_best),
    gradient_best=pick(better, gradient, state.gradient_best),
    # Not `maximum`, which would keep NaN.
    loss_best=jnp.where(better, losses, state.loss_best),
    increases=state.increases + (losses > state.loss),
    loss=losses,
    adversarial=pick(kept, x, state.adversarial),
    broken=state.broken | wrong,
  )


def halve(state: State, is_check, window) -> State:
  """Linf and L2: halves step sizes that no longer increase the loss.

  Images whose step size is halved go on from their best iterate.

  Args:
    state: after a step.
    is_check: whether this iteration is a checkpoint; nothing changes if not.
    window: iterations since the checkpoint before.
  """
  oscillates = state.increases <= _RHO * window
  stuck = ~state.halved_at_check & (state.loss_best_at_check >= state.loss_best)
  halved = is_check & (oscillates | stuck)
  return state.replace(
    step_size=jnp.where(halved, state.step_size / 2, state.step_size),
    # x_previous stays, as in the authors' code: the next momentum leads from
    # there to the best iterate, and beyond.
    x=pick(halved, state.x_best, state.x),
    gradient=pick(halved, state.gradient_best, state.gradient),
    halved_at_check=jnp.where(is_check, halved, state.halved_at_check),
    loss_best_at_check=jnp.where(
      is_check, state.loss_best, state.loss_best_at_check
    ),
    increases=jnp.where(is_check, 0, state.increases),
  )


def sparsify(state: State, clean, is_check, *, epsilon) -> State:
  """L1: adapts how many coordinates move, and the step size.

  If the best iterate became sparser by more than 5 %, the step size returns
  to epsilon, and the image to its best iterate; otherwise steps get shorter.

  Args:
    state: after a step.
    clean: [B, H, W, C].
    is_check: whether this iteration is a checkpoint; nothing changes if not.
    epsilon: radius of the ball.
  """
  changed = _changed(state.x_best, clean)
  sparser = 20 * changed < 19 * state.changed_at_check
  step = jnp.where(sparser, epsilon, state.step_size / 1.5)
  restarts = is_check & sparser
  return state.replace(
    step_size=jnp.where(
      is_check, jnp.clip(step, epsilon / 10, epsilon), state.step_size
    ),
    rank=jnp.where(is_check, _rank_of(changed, clean[0].size), state.rank),
    changed_at_check=jnp.where(is_check, changed, state.changed_at_check),
    x=pick(restarts, state.x_best, state.x),
    gradient=pick(restarts, state.gradient_best, state.gradient),
  )
