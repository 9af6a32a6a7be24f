"""Projected gradient ascent: the inner maximisation that attacks share.

Images are float32 [B, H, W, C] in [0, 1]; epsilon and step sizes are in the
same unit, written as `8 / 255`. Every example's noise is drawn from a key of
its own, so that an attack on it does not depend on the rest of the batch.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import checks
from peeraid_jax import images as images_lib
from peeraid_jax.attacks import projections

# images [B, H, W, C] -> value per example [B], to be maximised
Objective = Callable[[chex.Array], chex.Array]

# The norms of plain gradient ascent; AutoAttack also attacks in L1.
NORMS = ('Linf', 'L2')
STARTS = ('normal', 'uniform', 'none')


def check(
  *, epsilon, step_size, steps, norm, start, start_scale, shape
) -> None:
  """Checks an attack's settings, which are those of `maximise`.

  Args:
    epsilon, step_size, steps, norm, start, start_scale: as in `maximise`.
    shape: (H, W, C) of an image.

  Raises:
    ValueError: names the setting, its value and what would be right.
  """
  checks.one_of('norm', norm, NORMS)
  checks.one_of('start', start, STARTS)
  checks.radius('epsilon', epsilon, norm=norm, shape=shape)
  checks.radius('step_size', step_size, norm=norm, shape=shape)
  checks.whole('steps', steps)
  checks.number('start_scale', start_scale)


def per_example(key: chex.PRNGKey, count: int) -> chex.PRNGKey:
  """Returns one key per example.

  Args:
    key: a single key, or already one per example, [count].
    count: number of examples.

  Returns:
    [count] keys.

  Raises:
    ValueError: not a key of `jax.random.key`, or another number of keys.
  """
  dtype = getattr(key, 'dtype', None)
  if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
    raise ValueError(
      'key should be jax.random.key(seed), or one such key per example; got '
      f'{type(key).__name__} {"" if dtype is None else dtype}'
    )
  if key.ndim:
    if key.shape != (count,):
      raise ValueError(
        f'key should be a single key or {count}, one per example; got '
        f'{key.shape}'
      )
    return key
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def _noise(key: chex.PRNGKey, images, draw) -> chex.Array:
  """Draws each example's noise, `draw(key, [H, W, C])`, from its own key."""
  return jax.vmap(lambda k: draw(k, images.shape[1:]))(key)


def _uniform_in_l2_ball(key, shape):
  """A uniform draw from the L2 ball of radius 1."""
  direction_key, radius_key = jax.random.split(key)
  direction = jax.random.normal(direction_key, shape)
  direction /= jnp.maximum(jnp.linalg.norm(direction.ravel()), 1e-12)
  size = shape[0] * shape[1] * shape[2]
  return direction * jax.random.uniform(radius_key) ** (1 / size)


def _first_iterate(images, key, *, start, start_scale, epsilon, norm):
  """The images with their initial noise.

  They are not clipped to [0, 1], as in the authors' code: the first gradient
  is taken where the noise ends, the first projection follows after it.
  """
  if start == 'none':
    return images
  if start == 'normal':
    return images + start_scale * _noise(key, images, jax.random.normal)
  if norm == 'Linf':
    draw = lambda k, s: jax.random.uniform(k, s, minval=-1, maxval=1)
    return images + epsilon * _noise(key, images, draw)
  return images + epsilon * _noise(key, images, _uniform_in_l2_ball)


def _ascent_step(objective, images, *, epsilon, step_size, norm, has_carry):
  """Returns `(x, carry) -> (x, carry)`: one gradient, step and projection."""

  def total(x, carry):
    if not has_carry:
      return jnp.sum(objective(x)), None
    values, carry = objective(x, carry)
    return jnp.sum(values), carry

  gradient = jax.grad(total, has_aux=True)

  def step(x, carry):
    g, carry = gradient(x, carry)
    if norm == 'Linf':
      direction = jnp.sign(g)
    else:
      length = projections.norm_of(g, norm, keepdims=True)
      direction = g / jnp.maximum(length, 1e-12)
    x = projections.project(
      x + step_size * direction, images, epsilon=epsilon, norm=norm
    )
    return x, carry

  return step


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

  Args:
    objective: images -> [B]; its sum is differentiated. With a carry:
      (images, carry) -> ([B], carry).
    images: [B, H, W, C] in [0, 1], centre of the ball.
    key: one key, or one per example.
    epsilon: radius of the ball.
    step_size: length of a step along the gradient's sign (Linf) or the
      normalised gradient (L2).
    steps: number of gradients.
    norm: 'Linf' or 'L2'.
    start: 'normal' adds Gaussian noise of standard deviation `start_scale`;
      'uniform' draws from the ball; 'none' starts at the images.
    start_scale: used by 'normal' alone.
    carry: pytree that each evaluation of the objective updates, such as
      running statistics when a network is attacked in train mode.

  Returns:
    The last iterate, [B, H, W, C] in the ball and in [0, 1], without gradient
    to anything; with a carry, (iterate, carry).

  Raises:
    ValueError: a setting out of range, or images that are not floats in
      [0, 1].

  Reference:
    Madry et al., Towards Deep Learning Models Resistant to Adversarial
    Attacks, 2018.
  """
  ball = {'epsilon': epsilon, 'norm': norm}
  images_lib.check(images)
  check(
    **ball,
    step_size=step_size,
    steps=steps,
    start=start,
    start_scale=start_scale,
    shape=images.shape[1:],
  )
  has_carry = carry is not None
  step = _ascent_step(
    objective, images, **ball, step_size=step_size, has_carry=has_carry
  )
  keys = per_example(key, len(images))
  first = _first_iterate(
    images, keys, **ball, start=start, start_scale=start_scale
  )
  (last, carry), _ = jax.lax.scan(
    lambda state, _: (step(*state), None), (first, carry), length=int(steps)
  )
  last, carry = jax.lax.stop_gradient((last, carry))
  return (last, carry) if has_carry else last
