"""Projected gradient ascent: the inner maximisation that attacks share.

Images are float32 [B, H, W, C] in [0, 1]; epsilon and steps are in the same
unit, written as `8 / 255`. Noise is drawn per example from its own key.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.attacks import projections

# images [B, H, W, C] -> value per example [B], to be maximised
Objective = Callable[[chex.Array], chex.Array]

# Those that plain gradient ascent knows; AutoAttack knows L1 as well.
NORMS = ('Linf', 'L2')
STARTS = ('normal', 'uniform', 'none')


def check(*, epsilon, step_size, steps, norm, start) -> None:
  """Checks an attack's settings.

  Raises:
    ValueError: names the setting, its value and what would be right.
  """
  if norm not in NORMS:
    raise ValueError(f'{norm=} is unknown; known: {", ".join(NORMS)}')
  if start not in STARTS:
    raise ValueError(f'{start=} is unknown; known: {", ".join(STARTS)}')
  if not epsilon >= 0 or (norm == 'Linf' and epsilon > 1):
    raise ValueError(
      f'{epsilon=} should be at least 0, and at most 1 in Linf: images are '
      'in [0, 1], write 8 / 255'
    )
  if not step_size >= 0:
    raise ValueError(f'{step_size=} should be at least 0')
  if steps != int(steps) or steps < 1:
    raise ValueError(f'{steps=} should be a whole number of at least 1')


def _noise(key: chex.PRNGKey, images, draw) -> chex.Array:
  """Draws noise of an image's shape from each example's key."""
  return jax.vmap(lambda k: draw(k, images.shape[1:]))(key)


def _start(images, key, *, start, start_scale, epsilon, norm):
  """The first iterate; as in the authors' code it is not clipped."""
  if start == 'none':
    return images
  if start == 'normal':
    return images + start_scale * _noise(key, images, jax.random.normal)
  if norm == 'Linf':
    draw = lambda k, s: jax.random.uniform(k, s, minval=-1, maxval=1)
    return images + epsilon * _noise(key, images, draw)

  def in_ball(k, shape):
    direction_key, radius_key = jax.random.split(k)
    direction = jax.random.normal(direction_key, shape)
    direction /= jnp.maximum(jnp.linalg.norm(direction.ravel()), 1e-12)
    size = shape[0] * shape[1] * shape[2]
    return direction * jax.random.uniform(radius_key) ** (1 / size)

  return images + epsilon * _noise(key, images, in_ball)


def per_example(key: chex.PRNGKey, count: int) -> chex.PRNGKey:
  """Returns one key per example, [count], of one key or of such keys."""
  if key.ndim:
    chex.assert_shape(key, (count,))
    return key
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def maximise(
  objective: Objective,
  images: chex.Array,
  key: chex.PRNGKey,
  *,
  epsilon: float,
  step_size: float,
  steps: int,
  norm: str = 'Linf',
  start: str = 'normal',
  start_scale: float = 0.001,
  carry: Any = None,
) -> Any:
  """Maximises an objective in the epsilon-ball by projected gradient ascent.

  The last iterate is returned, without gradient to anything.

  Args:
    objective: images -> [B]; its sum is differentiated. With a carry:
      (images, carry) -> ([B], carry).
    images: [B, H, W, C] in [0, 1], centre of the ball.
    key: one key, or one per example.
    epsilon: radius of the ball.
    step_size: length of a step: times the gradient's sign (Linf) or its
      direction (L2).
    steps: number of gradients.
    norm: 'Linf' or 'L2'.
    start: 'normal' adds Gaussian noise of standard deviation `start_scale`;
      'uniform' draws from the ball; 'none' starts at the images.
    start_scale: used by 'normal' alone.
    carry: what every evaluation of the objective changes, as running
      statistics do where a network is attacked in train mode.

  Returns:
    [B, H, W, C] in the ball and in [0, 1]; with a carry, (these, carry).

  Raises:
    ValueError: a setting out of range.

  Reference:
    Madry et al., Towards Deep Learning Models Resistant to Adversarial
    Attacks, 2018.
  """
  check(
    epsilon=epsilon, step_size=step_size, steps=steps, norm=norm, start=start
  )
  chex.assert_rank(images, 4)

  def value(x, carried):
    if carry is None:
      return jnp.sum(objective(x)), None
    values, carried = objective(x, carried)
    return jnp.sum(values), carried

  gradient = jax.grad(value, has_aux=True)

  def step(state, _):
    x, carried = state
    g, carried = gradient(x, carried)
    if norm == 'Linf':
      direction = jnp.sign(g)
    else:
      length = projections.norm_of(g, norm, keepdims=True)
      direction = g / jnp.maximum(length, 1e-12)
    x = projections.project(
      x + step_size * direction, images, epsilon=epsilon, norm=norm
    )
    return (x, carried), None

  first = _start(
    images,
    per_example(key, len(images)),
    start=start,
    start_scale=start_scale,
    epsilon=epsilon,
    norm=norm,
  )
  (last, carried), _ = jax.lax.scan(step, (first, carry), length=steps)
  last, carried = jax.lax.stop_gradient((last, carried))
  return last if carry is None else (last, carried)
