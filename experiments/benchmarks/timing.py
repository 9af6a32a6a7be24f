"""Small helpers for timing."""

import statistics


def ratios(numerators, denominators) -> dict[str, float]:
  """Returns median, minimum and maximum of pairwise ratios."""
  values = [n / d for n, d in zip(numerators, denominators, strict=True)]
  return {
    'median': statistics.median(values),
    'min': min(values),
    'max': max(values),
  }
