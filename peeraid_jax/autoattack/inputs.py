"""Checks the images, labels and the network before anything is compiled."""

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import images as images_lib


def check(images, labels) -> tuple[np.ndarray, np.ndarray]:
  """Checks the points, and converts them.

  Args:
    images: [N, H, W, C], uint8, or floats in [0, 1].
    labels: int [N].

  Returns:
    (float32 images in [0, 1], the labels as an array).

  Raises:
    ValueError: describes what was given and what would be right.
  """
  images, labels = images_lib.as_floats(images), np.asarray(labels)
  images_lib.check(images, labels)
  return images.astype(np.float32), labels


def check_key(key) -> None:
  """Checks the key of the noise.

  Args:
    key: a single key; None for the default.

  Raises:
    ValueError: not a key of `jax.random.key`, or several of them.
  """
  if key is None:
    return
  dtype = getattr(key, 'dtype', None)
  is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
  if not is_key or key.ndim:
    raise ValueError(f'key={key!r} should be a single jax.random.key(seed)')


def count_classes(
  logits_fn: Callable, shape, *, draws: bool, name: str = 'logits_fn'
) -> int:
  """Returns the number of classes of a network, without running it.

  Args:
    logits_fn: images -> logits [B, K].
    shape: (H, W, C) of an image.
    draws: whether the network draws random numbers, and takes (images, keys).
    name: of the function, for messages.

  Raises:
    ValueError: not a function of these arguments, or its output is not [B, K].
  """
  if not callable(logits_fn):
    raise ValueError(f'{name}={logits_fn!r} should be a function of images')
  arguments = [jax.ShapeDtypeStruct((2, *shape), np.float32)]
  if draws:
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    arguments.append(keys)
  try:
    # Not the signature of a function that a decorator names as wrapped.
    inspect.signature(logits_fn, follow_wrapped=False).bind(*arguments)
  except TypeError as error:
    takes = '(images, keys)' if draws else '(images)'
    raise ValueError(
      f"{name} should take {takes}: keys with version='rand' or samples above "
      f'1, and only then ({error})'
    ) from None
  except ValueError:
    pass  # Some functions that are not Python's own have no signature.
  logits = jax.eval_shape(logits_fn, *arguments)
  images_lib.check_logits(logits, count=2, name=name)
  return logits.shape[1]
