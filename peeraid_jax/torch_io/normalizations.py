"""Writes normalizations of images in the form that `models.create` takes."""

from collections.abc import Iterable

from peeraid_jax import models


def as_text(mean: Iterable[float], std: Iterable[float]) -> str:
  """Returns 'mean,mean,mean/std,std,std', with one number per channel."""
  return f'{",".join(map(str, mean))}/{",".join(map(str, std))}'


def name_of(normalization) -> str:
  """Returns a name that `models.normalization_of` turns back into the numbers.

  Args:
    normalization: (mean, std), or None, as of `models.normalization_of`.
  """
  for name, numbers in models.NORMALIZATIONS.items():
    if numbers == normalization:
      return name
  return as_text(*normalization)
