"""AutoAttack's attacks as stages: one restart or one target class each.

Between stages the driver of `autoattack` drops the points that are broken, so
a stage is the unit of compilation and of compaction.

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

from peeraid_jax import losses
from peeraid_jax.attacks import apgd as apgd_lib
from peeraid_jax.attacks import fab as fab_lib
from peeraid_jax.attacks import projections
from peeraid_jax.attacks import square as square_lib

VERSIONS = {
  'standard': ('apgd_ce', 'apgd_t', 'fab_t', 'square'),
  'plus': ('apgd_ce', 'apgd_dlr', 'fab', 'square', 'apgd_t', 'fab_t'),
  'rand': ('apgd_ce', 'apgd_dlr'),
}
ATTACKS = ('apgd_ce', 'apgd_dlr', 'apgd_t', 'fab', 'fab_t', 'square')


class Settings(NamedTuple):
  """What the attacks are run with; all of it static.

  Attributes:
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius.
    classes: of the network.
    steps: iterations of APGD and FAB.
    queries: of Square.
    restarts: of the untargeted attacks.
    targets: classes that the targeted attacks go to, most likely ones first.
    samples: gradients averaged per step, of networks that draw.
    shrinking: APGD in L1 with radii that fall from 3 epsilon.
    stop_early: end a run of APGD when its batch is broken; see `apgd`.
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
    classes: of the network; with few there are fewer targets.

  Raises:
    ValueError: unknown version or norm.
  """
  known = (*VERSIONS, 'custom')
  if version not in known:
    raise ValueError(f'{version=} is unknown; known: {", ".join(known)}')
  if norm not in projections.NORMS:
    raise ValueError(
      f'{norm=} is unknown; known: {", ".join(projections.NORMS)}'
    )
  made = Settings(
    norm=norm,
    epsilon=float(epsilon),
    classes=classes,
    targets=min(9, classes - 1),
    shrinking=norm == 'L1' and version == 'standard',
  )
  if version in ('plus', 'custom'):
    return made._replace(restarts=5)
  if version == 'rand':
    return made._replace(samples=20)
  if norm == 'L1':
    return made._replace(restarts=5)
  return made


def targets_of(attack: str, settings: Settings) -> int:
  """Returns how many target classes a targeted attack goes to."""
  if attack == 'apgd_t' and settings.shrinking:
    return min(5, settings.targets)
  return settings.targets


def stages(attack: str, settings: Settings) -> int:
  """Returns how many stages an attack has.

  Raises:
    ValueError: unknown attack; the known ones are listed.
  """
  if attack not in ATTACKS:
    raise ValueError(f'attack {attack!r} is unknown; known: {ATTACKS}')
  if attack in ('apgd_t', 'fab_t'):
    return targets_of(attack, settings)
  if attack == 'square':
    return 1
  return settings.restarts


def passes(attack: str, settings: Settings) -> float:
  """Returns about how many passes a stage makes per point, both ways.

  Args:
    attack: one of `ATTACKS`, or 'clean'.
    settings: of the attacks.
  """
  each = {
    'clean': 1,
    'fab': settings.steps * (2 + settings.classes),
    'fab_t': settings.steps * 3,
    'square': settings.queries,
  }
  return each.get(attack, 2 * settings.steps * settings.samples)


class Found(NamedTuple):
  """What a stage found.

  Attributes:
    images: [B, H, W, C], candidates; the clean image where there is none.
    zero_gradient: bool [B], whether the first gradient was exactly 0.
  """

  images: chex.Array
  zero_gradient: chex.Array


def nth_class(logits: chex.Array, rank: chex.Numeric) -> chex.Array:
  """Returns the class of a rank by its logit, 0 the largest; int [B]."""
  return jnp.argsort(-logits, axis=-1)[:, rank]


def _keyed(logits_fn, samples: int):
  """Networks that do not draw ignore the keys of the examples."""
  if samples > 1:
    return logits_fn
  return lambda images, keys: logits_fn(images)


def _apgd(logits_fn, images, labels, keys, index, *, kind, settings):
  keyed = _keyed(logits_fn, settings.samples)
  if kind == 'ce':
    loss = lambda logits: losses.cross_entropy(logits, labels)
  elif kind == 'dlr':
    loss = lambda logits: losses.dlr(logits, labels)
  else:
    targets = nth_class(logits_fn(images), index + 1)
    loss = lambda logits: losses.targeted_dlr(logits, labels, targets)
  run = apgd_lib.apgd
  shape = {'norm': settings.norm}
  if settings.shrinking:
    run, shape = apgd_lib.apgd_shrinking, {}
  found = run(
    keyed,
    images,
    labels,
    keys,
    loss=loss,
    epsilon=settings.epsilon,
    steps=settings.steps,
    samples=settings.samples,
    stop_early=settings.stop_early,
    **shape,
  )
  # At a cross-entropy of 0 a zero gradient says nothing.
  zero = found.zero_gradient & (kind != 'ce')
  return Found(found.images, zero)


def _fab(logits_fn, images, labels, keys, index, *, targeted, settings):
  targets, random_start = None, index > 0
  if targeted:
    targets = nth_class(logits_fn(images), index + 1)
    random_start = False
  found = fab_lib.fab(
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
  return Found(found.images, jnp.zeros_like(found.broken))


def stage(attack: str, settings: Settings) -> Callable[..., Found]:
  """Returns a stage of an attack but Square, as a pure function.

  Args:
    attack: one of `ATTACKS`; Square goes by `square.begin` and `advance`.
    settings: static.

  Returns:
    run(logits_fn, images, labels, keys, index) -> Found, with the index of
    the restart, or of the target class from the most likely wrong one on.
  """
  table = {
    'apgd_ce': functools.partial(_apgd, kind='ce'),
    'apgd_dlr': functools.partial(_apgd, kind='dlr'),
    'apgd_t': functools.partial(_apgd, kind='targeted'),
    'fab': functools.partial(_fab, targeted=False),
    'fab_t': functools.partial(_fab, targeted=True),
  }
  return functools.partial(table[attack], settings=settings)


def square_begin(settings: Settings):
  """Returns the first perturbation of Square; see `square.begin`."""
  return functools.partial(
    square_lib.begin, epsilon=settings.epsilon, norm=settings.norm
  )


def square_advance(settings: Settings, count: int):
  """Returns `count` queries of Square; see `square.advance`."""
  return functools.partial(
    square_lib.advance,
    count=count,
    queries=settings.queries,
    epsilon=settings.epsilon,
    norm=settings.norm,
  )
