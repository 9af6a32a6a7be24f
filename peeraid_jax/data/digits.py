"""Handwritten digits that ship with scikit-learn: nothing to download."""

import numpy as np

from peeraid_jax.data import splits

TEST_EXAMPLES = 360


def load(split: str, **options) -> splits.Dataset:
  """Loads the optical digits of Alpaydin and Kaynak (UCI, 1998).

  Scikit-learn has 1,797 of them, 8x8 pixels in 17 levels of grey. They have
  no official split: a fixed stratified fifth is the test set.

  Args:
    split: 'train' or 'test'.
    **options: those of `data.load`; unused, as the digits are in memory.

  Returns:
    Images uint8 [N, 8, 8, 1] and labels int32 [N].
  """
  del options
  # Imported here: it takes a second, which other data sets save.
  from sklearn import datasets, model_selection

  images, labels = datasets.load_digits(return_X_y=True)
  images = np.round(images * (255 / 16)).astype(np.uint8)
  train_rows, test_rows = model_selection.train_test_split(
    np.arange(len(labels)),
    test_size=TEST_EXAMPLES,
    stratify=labels,
    random_state=0,
  )
  rows = np.sort(train_rows if split == 'train' else test_rows)
  return splits.Dataset(
    images[rows].reshape(-1, 8, 8, 1), labels[rows].astype(np.int32)
  )
