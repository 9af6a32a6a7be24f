"""What images, labels and logits have to be: one check for the whole package.

Every function that takes images from outside calls `check`. Types and shapes
are always looked at, values only where they are known: not while `jax.jit` or
another transformation traces the caller. A check therefore adds nothing to a
compiled program.
"""

import jax
import jax.numpy as jnp
import numpy as np


def as_floats(images):
  """Returns images in [0, 1] for uint8 in [0, 255]; all others unchanged.

  Args:
    images: array, or what NumPy makes one of.

  Returns:
    A NumPy array: float32 for uint8, otherwise of the given type.
  """
  images = np.asarray(images)
  if images.dtype == np.uint8:
    return images / np.float32(255)
  return images


def check(
  images, labels=None, *, shape=None, classes=None, may_be_empty=False
) -> None:
  """Checks a batch of images, and its labels.

  Args:
    images: should be floats [N, H, W, C] in [0, 1].
    labels: should be integers [N] in [0, classes - 1]; None if there are none.
    shape: as in `check_shape`.
    classes: of the network; None if it is not known.
    may_be_empty: accept N = 0.

  Raises:
    ValueError: states what was given and what would be right.
  """
  check_shape(images, shape)
  if _is_known(images):
    if images.size:
      _check_values(np.asarray(images))
    elif not may_be_empty:
      raise ValueError(
        f'images should be [N, H, W, C] with N at least 1, got {images.shape}'
      )
  if labels is not None:
    check_labels(labels, count=images.shape[0], classes=classes)


def check_shape(images, shape=None) -> None:
  """Checks type and shape of images; it never looks at values.

  Args:
    images: should be floats [N, H, W, C].
    shape: (H, W, C) that the network takes; None, as the whole or for one of
      the three, accepts any.

  Raises:
    ValueError: states what was given and what would be right.
  """
  dtype = getattr(images, 'dtype', None)
  if dtype is None:
    raise ValueError(
      f'images should be an array [N, H, W, C], got {type(images).__name__}'
    )
  if not jnp.issubdtype(dtype, jnp.floating):
    hint = ': pass images / 255' if jnp.issubdtype(dtype, jnp.integer) else ''
    raise ValueError(
      f'images are {dtype}, and should be floats in [0, 1]{hint}'
    )
  if images.ndim != 4:
    raise ValueError(f'images should be [N, H, W, C], got {images.shape}')
  expected = shape or (None, None, None)
  for right, size in zip(expected, images.shape[1:], strict=True):
    if right is not None and size != right:
      text = ', '.join('any' if e is None else str(e) for e in expected)
      raise ValueError(
        f'images are {tuple(images.shape[1:])} as (height, width, channels), '
        f'and the network takes ({text})'
      )


def check_labels(labels, *, count: int, classes: int | None = None) -> None:
  """Checks labels.

  Args:
    labels: should be integers [count] in [0, classes - 1].
    count: of the images.
    classes: of the network; None if it is not known.

  Raises:
    ValueError: states what was given and what would be right.
  """
  dtype = getattr(labels, 'dtype', type(labels).__name__)
  found = getattr(labels, 'shape', '')
  is_integer = hasattr(labels, 'dtype') and jnp.issubdtype(dtype, jnp.integer)
  if not is_integer or found != (count,):
    raise ValueError(
      f'labels should be integers [{count}], one per image; got {dtype} {found}'
    )
  if not _is_known(labels) or not labels.size:
    return
  values = np.asarray(labels)
  low, high = values.min(), values.max()
  if classes is not None and (low < 0 or high >= classes):
    raise ValueError(
      f'labels are in [{low}, {high}], and should be in [0, {classes - 1}]: '
      f'the network has {classes} classes'
    )
  if low < 0:
    raise ValueError(f'labels should be at least 0, got {low}')


def check_logits(logits, *, count, name: str = 'logits_fn') -> None:
  """Checks the shape of what a function of images returns.

  Args:
    logits: should be floats [count, K].
    count: of the images.
    name: of the function that returned them, for messages.

  Raises:
    ValueError: states what was returned and what would be right.
  """
  found = getattr(logits, 'shape', None)
  if found is None or len(found) != 2 or found[0] != count:
    got = type(logits).__name__ if found is None else found
    raise ValueError(
      f'{name} should return logits [B, K] for images [B, H, W, C]; for '
      f'{count} images it returns {got}'
    )
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise ValueError(
      f'{name} should return floats [N, K], and returns {logits.dtype}'
    )


def check_attacked(images) -> None:
  """Checks what an attack returns: gradients that are NaN make images NaN.

  Args:
    images: [N, H, W, C].

  Raises:
    ValueError: some are NaN, as far as values are known.
  """
  if not _is_known(images):
    return
  broken = np.isnan(np.asarray(images)).any(axis=(1, 2, 3))
  if broken.any():
    raise ValueError(
      f'the attack met logits or gradients that are NaN on {broken.sum()} of '
      f'{len(broken)} images: the network or the loss computes no number there'
    )


def predicted(logits):
  """Returns the predicted classes, and -1 where there is no prediction.

  There is none where the largest logit is NaN or infinite. `argmax` alone
  would return the first such class there, which may be the right one by
  accident.

  Args:
    logits: [..., K].

  Returns:
    int [...], of the library of `logits`: NumPy or JAX.
  """
  library = np if isinstance(logits, np.ndarray) else jnp
  decided = library.isfinite(library.max(logits, axis=-1))
  return library.where(decided, library.argmax(logits, axis=-1), -1)


def _is_known(array) -> bool:
  """Returns whether this process can read the values of an array now."""
  traced = isinstance(array, jax.core.Tracer)
  return not traced and getattr(array, 'is_fully_addressable', True)


def _check_values(images: np.ndarray) -> None:
  """Checks that no value is NaN or outside of [0, 1]."""
  # What a network gets is float32: rounding to it is no error.
  with np.errstate(over='ignore'):
    images = images.astype(np.float32, copy=False)
  low, high = images.min(), images.max()
  if low >= 0 and high <= 1:
    return
  if np.isnan(low):
    count = int(np.isnan(images).any(axis=(1, 2, 3)).sum())
    raise ValueError(f'{count} of {len(images)} images hold NaN')
  hint = 'normalise them inside of the network'
  if low >= 0 and 2 < high <= 255:
    hint = 'pass images / 255'
  raise ValueError(
    f'images should be in [0, 1]; got values in [{low}, {high}]: {hint}'
  )
