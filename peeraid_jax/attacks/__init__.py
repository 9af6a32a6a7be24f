"""Attacks: pure functions of `logits_fn(images) -> logits`."""

import functools
import re

from peeraid_jax.attacks import suite
from peeraid_jax.attacks.ascent import NORMS, STARTS, maximise, per_example
from peeraid_jax.attacks.pgd import cw, fgsm, pgd
from peeraid_jax.attacks.projections import project

__all__ = [
  'CASCADE',
  'NORMS',
  'OTHER',
  'STARTS',
  'cw',
  'fgsm',
  'maximise',
  'named',
  'per_example',
  'pgd',
  'project',
]

KNOWN = 'clean, fgsm, pgd<steps> (pgd20), cw<steps> (cw30)'
# What `autoattack.run` does, and not `named`.
CASCADE = ('autoattack', *suite.ATTACKS)
# What else `eval.attacks` may hold: each network on the others' images, and
# the checks of `obfuscation`.
OTHER = ('transfer', 'obfuscation')


def named(
  name: str, *, epsilon: float, step_size: float, norm: str, restarts: int = 1
):
  """Returns the evaluation attack of a name.

  Args:
    name: 'clean', 'fgsm', 'pgd20', 'cw30', ...: the number is that of steps.
    epsilon, step_size, norm, restarts: as in `pgd`.

  Returns:
    attack(logits_fn, images, labels, key) -> images.

  Raises:
    ValueError: unknown name; the known ones are listed.
  """
  if name == 'clean':
    return lambda logits_fn, images, labels, key: images
  if name == 'fgsm':
    return functools.partial(fgsm, epsilon=epsilon, norm=norm)
  match = re.fullmatch(r'(pgd|cw)([1-9]\d{0,5})', name)
  if not match:
    raise ValueError(
      f'attack {name!r} is unknown; known: {KNOWN}; in an evaluation also '
      f'{", ".join((*CASCADE, *OTHER))}'
    )
  return functools.partial(
    {'pgd': pgd, 'cw': cw}[match[1]],
    epsilon=epsilon,
    step_size=step_size,
    steps=int(match[2]),
    norm=norm,
    restarts=restarts,
  )
