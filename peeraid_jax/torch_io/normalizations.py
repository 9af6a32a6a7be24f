"""Writes normalizations of images in the form that `models.create` takes."""

from collections.abc import Iterable

import numpy as np

from peeraid_jax import models


def as_text(mean: Iterable[float], std: Iterable[float]) -> str:
  """Returns 'mean,mean,mean/std,std,std', with one number per channel."""
  return f'{",".join(map(str, mean))}/{",".join(map(str, std))}'


def check(name: str, channels: int) -> None:
  """Checks that images of that many channels can be normalised.

  Args:
    name: as of `models.normalization_of`; '' is not checked.
    channels: of the images.

  Raises:
    ValueError: it is no normalization, has numbers for other channels, or
      numbers that are not finite.
  """
  for numbers in (models.normalization_of(name) if name else None) or ():
    flat = np.ravel(numbers)
    if len(flat) not in (1, channels) or not np.isfinite(flat).all():
      raise ValueError(
        f'normalization={name!r} should have finite numbers, one or '
        f'{channels}, since its images have so many channels'
      )


def name_of(normalization) -> str:
  """Returns a name that `models.normalization_of` turns back into the numbers.

  Args:
    normalization: (mean, std), or None, as of `models.normalization_of`.
  """
  for name, numbers in models.NORMALIZATIONS.items():
    if numbers == normalization:
      return name
  return as_text(*normalization)
