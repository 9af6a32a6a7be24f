"""Seeded stratified parts of a data set."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
  """Images, uint8 [N, H, W, C], and their labels, int32 [N].

  Images are an array, or a `stored.Stored` that looks like one.
  """

  images: np.ndarray
  labels: np.ndarray

  def take(self, rows) -> 'Dataset':
    """Returns the examples of the given rows (or slice)."""
    return Dataset(self.images[rows], self.labels[rows])


def _stratified_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Rows of a sample with the class shares of the whole, sorted."""
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(labels))
  # Rank of each example within its class, as a share of the class: the
  # smallest shares are a sample in which no class is off by more than one.
  by_class = order[np.argsort(labels[order], kind='stable')]
  _, first, counts = np.unique(
    labels[by_class], return_index=True, return_counts=True
  )
  within = np.arange(len(labels)) - np.repeat(first, counts)
  ranks = np.empty(len(labels))
  ranks[by_class] = (within + 0.5) / np.repeat(counts, counts)
  return np.sort(order[np.argsort(ranks[order], kind='stable')[:count]])


def subset(data: Dataset, count: int, *, seed: int) -> Dataset:
  """Returns a stratified sample in the original order.

  Args:
    data: the whole.
    count: how many examples; 0 means all.
    seed: of the choice.

  Raises:
    ValueError: more examples asked for than there are.
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

  Returns:
    (the rest, `count` held-out examples), both in the original order.

  Raises:
    ValueError: nothing would be left to train on.
  """
  if not 0 < count < len(data.labels):
    raise ValueError(
      f'data.validation_examples={count} should be between 1 and '
      f'{len(data.labels) - 1}: there are {len(data.labels)} training images'
    )
  held = _stratified_rows(data.labels, count, seed)
  rest = np.setdiff1d(np.arange(len(data.labels)), held)
  return data.take(rest), data.take(held)
