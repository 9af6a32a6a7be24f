"""`Dataset`, and seeded stratified parts of it."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
  """Images with their labels, as every data set is loaded.

  Attributes:
    images: uint8 [N, H, W, C]; an array in memory, or a `stored.Stored`, which
      looks like one and decodes images from disk when they are needed.
    labels: int32 [N].
  """

  images: np.ndarray
  labels: np.ndarray

  def take(self, rows) -> 'Dataset':
    """Returns the examples of the given rows (indices or a slice)."""
    return Dataset(self.images[rows], self.labels[rows])


def _stratified_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Draws rows so that classes have the same shares as in the whole.

  Args:
    labels: int [N].
    count: number of rows to draw.
    seed: seed of the draw.

  Returns:
    int [count], sorted.
  """
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(labels))
  # Give each example its rank within its class, divided by the size of the
  # class. The `count` smallest of these relative ranks are a sample in which
  # no class is off by more than one example.
  by_class = order[np.argsort(labels[order], kind='stable')]
  _, first, counts = np.unique(
    labels[by_class], return_index=True, return_counts=True
  )
  rank_in_class = np.arange(len(labels)) - np.repeat(first, counts)
  relative_ranks = np.empty(len(labels))
  relative_ranks[by_class] = (rank_in_class + 0.5) / np.repeat(counts, counts)
  drawn = order[np.argsort(relative_ranks[order], kind='stable')[:count]]
  return np.sort(drawn)


def subset(data: Dataset, count: int, *, seed: int) -> Dataset:
  """Returns a stratified sample, in the original order.

  Args:
    data: the whole data set.
    count: number of examples; 0 means all.
    seed: seed of the draw.

  Raises:
    ValueError: `count` exceeds the number of examples.
  """
  if count == 0 or count == len(data.labels):
    return data
  if not 0 < count <= len(data.labels):
    raise ValueError(
      f'data.train_examples={count} should be between 1 and '
      f'{len(data.labels)}, or 0 for all'
    )
  return data.take(_stratified_rows(data.labels, count, seed))


def hold_out(
  data: Dataset, count: int, *, seed: int
) -> tuple[Dataset, Dataset]:
  """Splits off a stratified validation set.

  Args:
    data: the whole data set.
    count: number of examples to hold out.
    seed: seed of the draw.

  Returns:
    (the remaining examples, the held-out ones), both in the original order.

  Raises:
    ValueError: no example would be left to train on.
  """
  if not 0 < count < len(data.labels):
    raise ValueError(
      f'data.validation_examples={count} should be between 1 and '
      f'{len(data.labels) - 1}: there are {len(data.labels)} training images'
    )
  held_out = _stratified_rows(data.labels, count, seed)
  remaining = np.setdiff1d(np.arange(len(data.labels)), held_out)
  return data.take(remaining), data.take(held_out)
