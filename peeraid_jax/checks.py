"""Checks of single settings: numbers, counts and radii.

They return the value as Python's own number, and raise a `ValueError` that
states the setting's name, its value and what would be right.
"""

import math
from typing import Any

import numpy as np


def number(name: str, value: Any, *, least: float = 0) -> float:
  """Checks a finite number.

  Args:
    name: of the setting, for messages.
    value: that was given.
    least: smallest that is right.

  Raises:
    ValueError: not a number, not finite, or too small.
  """
  found = _as_float(value)
  if found is None or not math.isfinite(found):
    raise ValueError(f'{name}={value!r} should be a finite number')
  if found < least:
    raise ValueError(f'{name}={value!r} should be at least {least}')
  return found


def whole(
  name: str, value: Any, *, least: int = 1, most: int | None = None
) -> int:
  """Checks a whole number.

  Args:
    name: of the setting, for messages.
    value: that was given.
    least: smallest that is right.
    most: largest that is right; None for no limit.

  Raises:
    ValueError: not a whole number, or outside of the limits.
  """
  found = _as_float(value)
  if (
    found is None
    or not found.is_integer()
    or found < least
    or (most is not None and found > most)
  ):
    limits = f'of at least {least}' if most is None else f'in [{least}, {most}]'
    raise ValueError(f'{name}={value!r} should be a whole number {limits}')
  return int(found)


def radius(name: str, value: Any, *, norm: str, shape=None) -> float:
  """Checks the radius of a ball, or the length of a step.

  Args:
    name: of the setting, for messages.
    value: that was given, in the unit of [0, 1].
    norm: 'Linf', 'L2' or 'L1'; others have no upper limit.
    shape: (H, W, C) of an image; None for no upper limit in L2 and L1.

  Raises:
    ValueError: not a finite number of at least 0, or longer than the distance
      of a black image and a white one.
  """
  found = number(name, value)
  most = math.inf
  if norm == 'Linf':
    most = 1.0
  elif shape is not None and norm in ('L2', 'L1'):
    size = math.prod(shape)
    most = math.sqrt(size) if norm == 'L2' else float(size)
  if found > most:
    raise ValueError(
      f'{name}={value!r} should be at most {most:.6g} in {norm}: images are in '
      f'[0, 1]. Did you mean {found:g} / 255?'
    )
  return found


def one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
  """Checks a name.

  Args:
    name: of the setting, for messages.
    value: that was given.
    known: the names that are right.

  Raises:
    ValueError: unknown; lists the known names.
  """
  if not isinstance(value, str) or value not in known:
    raise ValueError(f'{name}={value!r} is unknown; known: {", ".join(known)}')


def _as_float(value: Any) -> float | None:
  """Returns a real number as a float; None for everything else."""
  if isinstance(value, bool | str | bytes | np.bool_) or value is None:
    return None
  try:
    return float(value) if np.ndim(value) == 0 else None
  except (TypeError, ValueError, OverflowError):
    return None
