"""Summaries of what a network returns: confusion matrix and t-SNE."""

import numpy as np


def confusion_matrix(labels, logits, num_classes: int) -> np.ndarray:
  """Counts predictions.

  Args:
    labels: int [N].
    logits: float [N, num_classes].
    num_classes: number of classes.

  Returns:
    int [num_classes, num_classes]: true class, predicted class.
  """
  counts = np.zeros((num_classes, num_classes), int)
  np.add.at(counts, (labels, logits.argmax(-1)), 1)
  return counts


def tsne(clean, adversarial, *, seed: int) -> dict[str, np.ndarray]:
  """Projects clean and attacked embeddings together onto a plane.

  Args:
    clean, adversarial: embeddings, [N, D].
    seed: seed of t-SNE.

  Returns:
    {'clean', 'adversarial': [N, 2]}.

  Reference:
    van der Maaten and Hinton, Visualizing Data using t-SNE, 2008.
  """
  from sklearn import manifold

  both = np.concatenate([clean, adversarial])
  projection = manifold.TSNE(
    n_components=2,
    perplexity=min(30, len(both) / 4),
    init='pca',
    random_state=seed,
  )
  positions = projection.fit_transform(both)
  return {
    'clean': positions[: len(clean)],
    'adversarial': positions[len(clean) :],
  }
