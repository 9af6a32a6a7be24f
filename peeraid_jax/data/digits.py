"""Handwritten digits that ship inside scikit-learn: no download."""

import numpy as np

from peeraid_jax.data import facts


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the optical digits of Alpaydin and Kaynak (UCI, 1998).

  Scikit-learn holds 1,797 of them, 8x8 grey in 17 levels. A fixed stratified
  fifth is the test set.

  Returns:
    (images uint8 [N, 8, 8, 1], labels int32 [N]).
  """
  from sklearn import datasets, model_selection  # 1 s that others save.

  images, labels = datasets.load_digits(return_X_y=True)
  images = np.round(images * (255 / 16)).astype(np.uint8)
  rows = model_selection.train_test_split(
    np.arange(len(labels)),
    test_size=facts.get('digits').test,
    stratify=labels,
    random_state=0,
  )[0 if split == 'train' else 1]
  rows = np.sort(rows)
  return images[rows].reshape(-1, 8, 8, 1), labels[rows].astype(np.int32)
