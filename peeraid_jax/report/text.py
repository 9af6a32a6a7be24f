"""Numbers and lists as text, for the page and for Markdown tables."""

import statistics
from collections.abc import Iterable, Sequence


def percent(share: float) -> str:
  """Returns a share in per cent with one decimal: 0.5 is '50.0'."""
  return f'{100 * share:.1f}'


def mean_percent(shares: Sequence[float]) -> str:
  """Returns the mean in per cent; of several, with standard deviation."""
  mean = percent(statistics.mean(shares))
  if len(shares) == 1:
    return mean
  return f'{mean} ± {percent(statistics.stdev(shares))}'


def listed(values: Iterable) -> str:
  """Returns distinct values in ascending order: '1, 2, 3'."""
  return ', '.join(map(str, sorted(set(values))))


def table_row(label: str, cells: Sequence[str]) -> str:
  """Returns one row of a Markdown table."""
  return f'| {" | ".join([label, *cells])} |'
