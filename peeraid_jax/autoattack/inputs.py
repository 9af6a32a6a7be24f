"""Checks the images, labels and the network before anything is compiled."""

from collections.abc import Callable

import jax
import numpy as np


def check(images, labels, epsilon) -> tuple[np.ndarray, np.ndarray]:
  """Checks the points and the radius, and converts the points.

  Args:
    images: [N, H, W, C], uint8, or floats in [0, 1].
    labels: int [N].
    epsilon: radius of the ball.

  Returns:
    (float32 images in [0, 1], int32 labels).

  Raises:
    ValueError: describes what was given and what would be right.
  """
  images, labels = np.asarray(images), np.asarray(labels)
  if images.ndim != 4 or not len(images):
    raise ValueError(
      f'images should be [N, H, W, C] with N at least 1, got {images.shape}'
    )
  if images.dtype == np.uint8:
    images = images / np.float32(255)
  images = images.astype(np.float32)
  if not (images.min() >= 0 and images.max() <= 1):
    raise ValueError(
      'images should be uint8, or floats in [0, 1]; got '
      f'[{images.min()}, {images.max()}]. Normalise images inside logits_fn: '
      'epsilon is in the unit of [0, 1]'
    )
  if labels.shape != images.shape[:1] or labels.dtype.kind not in 'iu':
    raise ValueError(
      f'labels should be integers [{len(images)}], got {labels.dtype} '
      f'{labels.shape}'
    )
  if not epsilon >= 0:
    raise ValueError(f'{epsilon=} should be at least 0')
  return images, labels.astype(np.int32)


def count_classes(
  logits_fn: Callable, images: np.ndarray, labels: np.ndarray, version: str
) -> int:
  """Returns the number of classes of a network, without running it.

  Args:
    logits_fn: images -> logits [B, K]; with version 'rand', (images, keys) ->
      logits.
    images: float32 [N, H, W, C].
    labels: int32 [N].
    version: of AutoAttack.

  Raises:
    ValueError: the output is not [B, K], or a label is not in [0, K - 1].
  """
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
  batch = jax.ShapeDtypeStruct((2, *images.shape[1:]), np.float32)
  logits = jax.eval_shape(
    logits_fn, batch, *([keys] if version == 'rand' else [])
  )
  if getattr(logits, 'ndim', 0) != 2 or logits.shape[0] != 2:
    raise ValueError(
      'logits_fn should return logits [B, K] for images [B, H, W, C]; for '
      f'{batch.shape} it returns {getattr(logits, "shape", type(logits))}'
    )
  classes = logits.shape[1]
  if labels.min() < 0 or labels.max() >= classes:
    raise ValueError(
      f'labels are in [{labels.min()}, {labels.max()}]; logits_fn has '
      f'{classes} classes: they should be in [0, {classes - 1}]'
    )
  return classes
