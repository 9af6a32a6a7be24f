"""APGD: gradient ascent that adapts its own step size, in Linf, L2 and L1.

Reference:
  Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
  Ensemble of Diverse Parameter-free Attacks, 2020; for L1, Mind the Box:
  l1-APGD for Sparse Adversarial Attacks on Image Classifiers, 2021. Where a
  paper and the authors' code differ, this module follows the code.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import images as images_lib
from peeraid_jax.attacks import ascent, projections
from peeraid_jax.autoattack import apgd_steps

# (images [B, H, W, C], keys [B]) -> logits [B, K]. The keys are for networks
# that draw random numbers; all others ignore them.
KeyedLogitsFn = Callable[[chex.Array, chex.PRNGKey], chex.Array]


class Result(NamedTuple):
  """The result of APGD.

  Attributes:
    images: [B, H, W, C], a misclassified iterate, or the clean image where
      there is none: with `stop_early` the first one, so that it does not
      depend on the other images of the batch, otherwise the last one. NaN
      where the search ended because a gradient is NaN.
    broken: bool [B], whether there is one.
    best: [B, H, W, C], the iterate with the largest loss.
    best_loss: [B], that loss.
    zero_gradient: bool [B], whether the first gradient was exactly 0.
  """

  images: chex.Array
  broken: chex.Array
  best: chex.Array
  best_loss: chex.Array
  zero_gradient: chex.Array


def checkpoints(steps: int) -> list[int]:
  """Returns the iterations (from 1) after which the step may be halved."""
  window = max(int(0.22 * steps), 1)
  smallest, shrink = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
  iterations, last = [], 0
  while last + window <= steps:
    last += window
    iterations.append(last)
    window = max(window - shrink, smallest)
  return iterations


def _schedule(steps: int):
  """Returns arrays [steps]: is it a checkpoint, and its distance to the last.

  The distance is 1 where there is no checkpoint.
  """
  is_check, windows, last = [False] * steps, [1] * steps, 0
  for iteration in checkpoints(steps):
    is_check[iteration - 1], windows[iteration - 1] = True, iteration - last
    last = iteration
  return jnp.array(is_check), jnp.array(windows)


def random_start(images, keys, *, epsilon, norm):
  """Returns a random point on the ball's surface, clipped to the box.

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
    # Scales the noise to the surface. In L1 the authors' code projects noise
    # of any length instead.
    length = projections.norm_of(noise, norm, keepdims=True)
    noise = epsilon * noise / (length + 1e-12)
  return projections.project(images + noise, images, epsilon=epsilon, norm=norm)


def _evaluation(logits_fn: KeyedLogitsFn, labels, keys, loss, samples: int):
  """Returns a function that evaluates an iterate.

  Args:
    logits_fn: (images, keys) -> logits.
    labels: int [B].
    keys: [B, 2]; the second key of each image is the network's.
    loss: logits [B, K] -> [B].
    samples: forward and backward passes per iterate.

  Returns:
    (x, iteration) -> (gradient of the loss, averaged over the samples; loss
    and whether x is misclassified, both of the last sample).
  """

  def evaluate(x, iteration):
    def total_loss(x, sample):
      fold = jax.vmap(jax.random.fold_in, (0, None))
      logits = logits_fn(x, fold(keys[:, 1], iteration * samples + sample))
      losses = loss(logits)
      return jnp.sum(losses), (logits, losses)

    gradient_fn = jax.grad(total_loss, has_aux=True)
    if samples == 1:
      gradient, (logits, losses) = gradient_fn(x, 0)
    else:

      def add(total, sample):
        gradient, outputs = gradient_fn(x, sample)
        return total + gradient, outputs

      total, outputs = jax.lax.scan(add, jnp.zeros_like(x), jnp.arange(samples))
      gradient = total / samples
      logits, losses = jax.tree.map(lambda a: a[-1], outputs)
    # No prediction is a wrong one, except of an image that is no number itself
    # because a gradient was none.
    wrong = images_lib.predicted(logits) != labels
    wrong &= apgd_steps.is_number(x)
    return gradient, losses.astype(jnp.float32), wrong

  return evaluate


def _ascend(
  evaluate, images, state, *, epsilon, norm, steps: int, stop_early: bool
) -> apgd_steps.State:
  """Runs all iterations from an initial state; see `apgd`."""
  is_check, windows = _schedule(steps)
  l1_window = max(int(0.04 * steps), 1)

  def iterate(state: apgd_steps.State) -> apgd_steps.State:
    i = state.iteration
    x = apgd_steps.move(state, images, epsilon=epsilon, norm=norm)
    gradient, losses, wrong = evaluate(x, i + 1)
    state = apgd_steps.record(
      state, x, gradient, losses, wrong, keep_first=stop_early
    )
    if norm == 'L1':
      is_l1_check = (i + 1) % l1_window == 0
      return apgd_steps.sparsify(state, images, is_l1_check, epsilon=epsilon)
    return apgd_steps.halve(state, is_check[i], windows[i])

  def unfinished(state: apgd_steps.State):
    left = state.iteration < steps
    return left & ~jnp.all(state.broken) if stop_early else left

  return jax.lax.while_loop(unfinished, iterate, state)


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
  """Runs APGD once.

  Args:
    logits_fn: (images, keys) -> logits.
    images: [B, H, W, C] in [0, 1].
    labels: int [B].
    key: one key, or one per image.
    loss: logits [B, K] -> [B], which is maximised.
    epsilon: radius of the ball.
    norm: 'Linf', 'L2' or 'L1'.
    steps: iterations.
    start: [B, H, W, C], inside the ball; None draws it.
    samples: gradients averaged per step (expectation over transformation),
      for networks that draw random numbers.
    stop_early: stop when all images of the batch are broken. This changes
      `best`, which may be an earlier iterate, but not which images break.
  """
  chex.assert_rank(images, 4)
  chex.assert_shape(labels, (len(images),))
  keys = jax.vmap(jax.random.split)(ascent.per_example(key, len(images)))
  ball = {'epsilon': epsilon, 'norm': norm}
  drawn = start is None
  if start is None:
    start = random_start(images, keys[:, 0], **ball)
  evaluate = _evaluation(logits_fn, labels, keys, loss, samples)
  gradient, losses, wrong = evaluate(start, 0)
  state = apgd_steps.initial(
    images, start, gradient, losses, wrong, drawn=drawn, **ball
  )
  last = _ascend(
    evaluate, images, state, steps=steps, stop_early=stop_early, **ball
  )
  found = apgd_steps.pick(last.broken, last.adversarial, images)
  # The last iterate was NaN; it may have been reset to the best one since.
  lost = ~last.broken & jnp.isnan(last.loss)
  return Result(
    images=apgd_steps.pick(lost, jnp.full_like(images, jnp.nan), found),
    broken=last.broken,
    best=last.x_best,
    best_loss=last.loss_best,
    zero_gradient=jnp.sum(jnp.abs(apgd_steps.flat(gradient)), axis=-1) == 0,
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
  """Runs APGD in L1 with radii of 3 epsilon, 2 epsilon and epsilon.

  Each stage starts from the best iterate of the one before, projected onto
  its own, smaller ball; only the last stage's images can count as broken.

  Args:
    logits_fn: as in `apgd`.
    images: as in `apgd`.
    labels: as in `apgd`.
    key: as in `apgd`.
    epsilon: radius of the last stage.
    steps: iterations of all stages together.
    **settings: other arguments of `apgd`, except `norm` and `start`.

  Returns:
    The last stage's `Result`.
  """
  first = math.ceil(0.3 * steps)
  keys = ascent.per_example(key, len(images))
  fold = jax.vmap(jax.random.fold_in, (0, None))
  start = None
  for stage, (factor, stage_steps) in enumerate(
    ((3, first), (2, first), (1, steps - 2 * first))
  ):
    radius = factor * epsilon
    if start is not None:
      start = projections.project(start, images, epsilon=radius, norm='L1')
    # Stages before the last one should find the best start: they never stop.
    stop_early = stage == 2 and settings.get('stop_early', True)
    result = apgd(
      logits_fn,
      images,
      labels,
      fold(keys, stage),
      epsilon=radius,
      norm='L1',
      steps=stage_steps,
      start=start,
      **{**settings, 'stop_early': stop_early},
    )
    start = result.best
  return result
