"""FGSM, PGD and CW: gradient ascent on a loss of the labels."""

import functools
import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import checks, losses
from peeraid_jax import images as images_lib
from peeraid_jax.attacks import ascent

# images [B, H, W, C] in [0, 1] -> logits [B, C]
LogitsFn = Callable[[chex.Array], chex.Array]
# (logits [B, C], labels [B]) -> value per example [B]
Loss = Callable[[chex.Array, chex.Array], chex.Array]


def _strongest(value_fn, logits_fn, labels, run, key, restarts):
  """Returns, per example, the image of the strongest restart.

  That is one that is misclassified, which includes logits without a largest
  finite one; among several such, or if there is none, the one with the largest
  value.

  Args:
    value_fn: logits [B, C] -> [B].
    logits_fn: images -> logits.
    labels: int [B].
    run: keys [B] -> images, one start of the attack.
    key: [B] keys.
    restarts: number of starts; the first uses the keys as they are.
  """

  def score(x):
    logits = logits_fn(x)
    fooled = images_lib.predicted(logits) != labels
    return fooled, value_fn(logits)

  def body(best, restart):
    best_x, best_fooled, best_value = best
    x = run(jax.vmap(jax.random.fold_in, (0, None))(key, restart))
    fooled, value = score(x)
    better = (fooled & ~best_fooled) | (
      (fooled == best_fooled) & (value > best_value)
    )
    update = lambda new, old: jnp.where(
      better.reshape(-1, *[1] * (new.ndim - 1)), new, old
    )
    best = (
      update(x, best_x),
      update(fooled, best_fooled),
      update(value, best_value),
    )
    return best, None

  first = run(key)
  (best_x, _, _), _ = jax.lax.scan(
    body, (first, *score(first)), jnp.arange(1, restarts)
  )
  return best_x


def _checked(logits_fn, labels):
  """Returns a function that checks the logits that it returns.

  Their shape is known while the attack is traced, before anything is computed,
  and tells which labels there are.
  """

  def checked(images):
    logits = logits_fn(images)
    count = images.shape[0]
    images_lib.check_logits(logits, count=count)
    images_lib.check_labels(labels, count=count, classes=logits.shape[1])
    return logits

  return checked


def pgd(
  logits_fn: LogitsFn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  epsilon: float,
  step_size: float,
  steps: int,
  norm: str = 'Linf',
  start: str = 'uniform',
  start_scale: float = 0.001,
  restarts: int = 1,
  loss: Loss = losses.cross_entropy,
) -> chex.Array:
  """PGD on a loss of the labels, by default the cross-entropy.

  Args:
    logits_fn: images [B, H, W, C] -> logits [B, C].
    images: [B, H, W, C] in [0, 1].
    labels: int [B].
    key: one key, or one per example.
    epsilon, step_size, steps, norm, start, start_scale: as in `maximise`.
    restarts: number of starts; per example, the strongest is returned.
    loss: (logits, labels) -> [B], maximised.

  Returns:
    [B, H, W, C] in the ball and in [0, 1].

  Raises:
    ValueError: a setting out of range, images that are not floats in [0, 1],
      labels that are not the network's classes, logits of another shape, or,
      unless the attack is traced, gradients that are NaN.

  Reference:
    As in `maximise`.
  """
  restarts = checks.whole('restarts', restarts)
  images_lib.check(images, labels)
  logits_fn = _checked(logits_fn, labels)
  key = ascent.per_example(key, len(images))
  value_fn = lambda logits: loss(logits, labels)
  run = lambda k: ascent.maximise(
    lambda x: value_fn(logits_fn(x)),
    images,
    k,
    epsilon=epsilon,
    step_size=step_size,
    steps=steps,
    norm=norm,
    start=start,
    start_scale=start_scale,
  )
  if restarts == 1:
    attacked = run(key)
  else:
    attacked = _strongest(value_fn, logits_fn, labels, run, key, restarts)
  images_lib.check_attacked(attacked)
  return attacked


def cw(
  logits_fn: LogitsFn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey,
  *,
  steps: int = 30,
  kappa: float = 50.0,
  **others,
) -> chex.Array:
  """PGD on Carlini and Wagner's margin (`losses.margin`).

  Args:
    logits_fn, images, labels, key, steps: as in `pgd`.
    kappa: as in `losses.margin`.
    **others: further arguments of `pgd`: epsilon, step_size, norm, ...

  Returns:
    [B, H, W, C] in the ball and in [0, 1].

  Raises:
    ValueError: as of `pgd`.
  """
  kappa = checks.number('kappa', kappa, least=-math.inf)
  margin = functools.partial(losses.margin, kappa=kappa)
  return pgd(logits_fn, images, labels, key, steps=steps, loss=margin, **others)


def fgsm(
  logits_fn: LogitsFn,
  images: chex.Array,
  labels: chex.Array,
  key: chex.PRNGKey | None = None,
  *,
  epsilon: float,
  norm: str = 'Linf',
  start: str = 'none',
  start_scale: float = 0.001,
) -> chex.Array:
  """One step of length epsilon on the cross-entropy.

  Args:
    logits_fn, images, labels, epsilon, norm: as in `pgd`.
    key: one key, or one per example; only a random start needs it.
    start: 'none' (the default, as in most tables) or 'uniform' (IAD).
    start_scale: as in `maximise`.

  Returns:
    [B, H, W, C] in the ball and in [0, 1].

  Raises:
    ValueError: as of `pgd`, or a random start without key.

  Reference:
    Goodfellow et al., Explaining and Harnessing Adversarial Examples, 2015.
  """
  if key is None:
    if start != 'none':
      raise ValueError(f'{start=} needs a key')
    key = jax.random.key(0)
  return pgd(
    logits_fn,
    images,
    labels,
    key,
    epsilon=epsilon,
    step_size=epsilon,
    steps=1,
    norm=norm,
    start=start,
    start_scale=start_scale,
  )
