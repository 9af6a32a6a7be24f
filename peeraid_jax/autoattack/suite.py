"""AutoAttack's attacks, versions and settings.

An attack is cut into stages: one restart or one target class each. A stage is
compiled as a whole; between stages `driver` drops the broken points.

Reference:
  Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
  Ensemble of Diverse Parameter-free Attacks, 2020; versions and constants of
  the authors' package.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from peeraid_jax import checks, losses
from peeraid_jax.attacks import projections
from peeraid_jax.autoattack import apgd as apgd_lib
from peeraid_jax.autoattack import fab as fab_lib
from peeraid_jax.autoattack import square as square_lib

VERSIONS = {
  'standard': ('apgd_ce', 'apgd_t', 'fab_t', 'square'),
  'plus': ('apgd_ce', 'apgd_dlr', 'fab', 'square', 'apgd_t', 'fab_t'),
  'rand': ('apgd_ce', 'apgd_dlr'),
}
# Gradients averaged per step in version 'rand'.
RAND_SAMPLES = 20
ATTACKS = ('apgd_ce', 'apgd_dlr', 'apgd_t', 'fab', 'fab_t', 'square')


class Settings(NamedTuple):
  """Settings of the attacks; static, as compiled programs depend on them.

  Attributes:
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius.
    classes: of the network.
    steps: iterations of APGD and FAB.
    queries: of Square.
    restarts: of the untargeted attacks.
    targets: number of classes that the targeted attacks try, from the most
      likely wrong one on.
    samples: gradients averaged per step; more than 1 means that the network
      draws random numbers, and takes (images, keys).
    shrinking: run APGD in L1 with radii of 3, 2 and 1 epsilon.
    stop_early: stop APGD when all images of its batch are broken; see `apgd`.
  """

  norm: str
  epsilon: float
  classes: int
  steps: int = 100
  queries: int = 5000
  restarts: int = 1
  targets: int = 9
  samples: int = 1
  shrinking: bool = False
  stop_early: bool = True


def settings_of(
  version: str, *, norm: str, epsilon: float, classes: int
) -> Settings:
  """Returns the settings of a version of AutoAttack.

  Args:
    version: 'standard', 'plus', 'rand' or 'custom'.
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius.
    classes: of the network; below 10 there are fewer targets.

  Raises:
    ValueError: unknown version or norm; lists the known ones.
  """
  checks.one_of('version', version, (*VERSIONS, 'custom'))
  checks.one_of('norm', norm, projections.NORMS)
  settings = Settings(
    norm=norm,
    epsilon=float(epsilon),
    classes=classes,
    targets=min(9, classes - 1),
    shrinking=norm == 'L1' and version == 'standard',
  )
  if version in ('plus', 'custom'):
    return settings._replace(restarts=5)
  if version == 'rand':
    return settings._replace(samples=RAND_SAMPLES)
  if norm == 'L1':
    return settings._replace(restarts=5)
  return settings


def targets_of(attack: str, settings: Settings) -> int:
  """Returns how many target classes a targeted attack tries."""
  if attack == 'apgd_t' and settings.shrinking:
    return min(5, settings.targets)
  return settings.targets


def stages(attack: str, settings: Settings) -> int:
  """Returns how many stages an attack has."""
  if attack in ('apgd_t', 'fab_t'):
    return targets_of(attack, settings)
  if attack == 'square':
    return 1
  return settings.restarts


def passes(attack: str, settings: Settings) -> float:
  """Estimates the forward and backward passes of a stage, per point.

  Args:
    attack: one of `ATTACKS`, or 'clean'.
    settings: of the attacks.
  """
  counts = {
    'clean': 1,
    'fab': settings.steps * (2 + settings.classes),
    'fab_t': settings.steps * 3,
    'square': settings.queries,
  }
  return counts.get(attack, 2 * settings.steps * settings.samples)


class StageResult(NamedTuple):
  """The result of a stage.

  Attributes:
    images: [B, H, W, C], candidates; the clean image where the attack failed.
    zero_gradient: bool [B], whether the first gradient of DLR was exactly 0.
  """

  images: chex.Array
  zero_gradient: chex.Array


def nth_class(logits: chex.Array, rank: chex.Numeric) -> chex.Array:
  """Returns the class with the rank-th largest logit, from 0; int [B].

  Args:
    logits: [B, K].
    rank: int.
  """
  return jnp.argsort(-logits, axis=-1)[:, rank]


def _keyed(logits_fn, samples: int):
  """Returns a function of (images, keys), whether the network draws or not."""
  if samples > 1:
    return logits_fn
  return lambda images, keys: logits_fn(images)


def _apgd(logits_fn, images, labels, keys, index, *, kind, settings):
  """A stage of APGD; kind is the loss: 'ce', 'dlr' or 'targeted'."""
  keyed = _keyed(logits_fn, settings.samples)
  if kind == 'ce':
    loss = lambda logits: losses.cross_entropy(logits, labels)
  elif kind == 'dlr':
    loss = lambda logits: losses.dlr(logits, labels)
  else:
    targets = nth_class(logits_fn(images), index + 1)
    loss = lambda logits: losses.targeted_dlr(logits, labels, targets)
  run = functools.partial(apgd_lib.apgd, norm=settings.norm)
  if settings.shrinking:
    run = apgd_lib.apgd_shrinking
  result = run(
    keyed,
    images,
    labels,
    keys,
    loss=loss,
    epsilon=settings.epsilon,
    steps=settings.steps,
    samples=settings.samples,
    stop_early=settings.stop_early,
  )
  # The gradient of cross-entropy also vanishes where a network is very sure:
  # it is no sign of masked gradients.
  zero_gradient = result.zero_gradient & (kind != 'ce')
  return StageResult(result.images, zero_gradient)


def _fab(logits_fn, images, labels, keys, index, *, targeted, settings):
  """A stage of FAB; untargeted restarts after the first start at random."""
  targets, random_start = None, index > 0
  if targeted:
    targets = nth_class(logits_fn(images), index + 1)
    random_start = False
  result = fab_lib.fab(
    logits_fn,
    images,
    labels,
    keys,
    epsilon=settings.epsilon,
    norm=settings.norm,
    steps=settings.steps,
    targets=targets,
    random_start=random_start,
  )
  return StageResult(result.images, jnp.zeros_like(result.broken))


def stage(attack: str, settings: Settings) -> Callable[..., StageResult]:
  """Returns a stage of an attack, as a pure function.

  Args:
    attack: one of `ATTACKS`, except Square, which has `square_begin` and
      `square_advance` instead.
    settings: of the attacks.

  Returns:
    (logits_fn, images, labels, keys, index) -> `StageResult`. The index is
    the number of the restart, or of the target class, 0 the most likely wrong
    one.
  """
  functions = {
    'apgd_ce': functools.partial(_apgd, kind='ce'),
    'apgd_dlr': functools.partial(_apgd, kind='dlr'),
    'apgd_t': functools.partial(_apgd, kind='targeted'),
    'fab': functools.partial(_fab, targeted=False),
    'fab_t': functools.partial(_fab, targeted=True),
  }
  return functools.partial(functions[attack], settings=settings)


def square_begin(settings: Settings):
  """Returns `square.begin` with the settings filled in."""
  return functools.partial(
    square_lib.begin, epsilon=settings.epsilon, norm=settings.norm
  )


def square_advance(settings: Settings, count: int):
  """Returns `square.advance` with the settings filled in.

  Args:
    settings: of the attacks.
    count: queries per call.
  """
  return functools.partial(
    square_lib.advance,
    count=count,
    queries=settings.queries,
    epsilon=settings.epsilon,
    norm=settings.norm,
  )
