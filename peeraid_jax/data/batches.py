"""Batches as a pure function of (seed, step), made on the device.

The data set lives on the device as uint8. A batch is a row of the epoch's
order, gathered, cropped and flipped inside the compiled step.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np


class Resident(NamedTuple):
  """A data set on the device: uint8 [N, H, W, C] and int32 [N]."""

  images: chex.Array
  labels: chex.Array


class Batch(NamedTuple):
  """What a method sees: float32 [B, H, W, C] in [0, 1], and int32 [B]."""

  images: chex.Array
  labels: chex.Array


class Rows(NamedTuple):
  """Which examples make up a batch.

  Attributes:
    index: int32 [B], rows of the resident data.
    position: int32 [B], places in the global batch: they key the noise, so
      that it does not depend on the number of devices.
  """

  index: chex.Array
  position: chex.Array


def epoch_order(
  seed: int, epoch: int, examples: int, batch_size: int, *, stream: int = 0
) -> np.ndarray:
  """Returns the rows of each batch of an epoch.

  The last batch is filled up from the epoch's own start, so that an epoch has
  the authors' number of steps and every batch has one shape.

  Args:
    seed: the run's seed.
    epoch: counted from 0.
    examples: number of training examples.
    batch_size: global batch size.
    stream: orders of different streams have nothing in common.

  Returns:
    int32 [ceil(examples / batch_size), batch_size].
  """
  order = np.random.default_rng((seed, epoch, stream)).permutation(examples)
  steps = -(-examples // batch_size)
  return np.resize(order, (steps, batch_size)).astype(np.int32)


def keys_of(key: chex.PRNGKey, position: chex.Array) -> chex.PRNGKey:
  """Returns one key per example, [B], from a step's key."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, position)


def to_float(images: chex.Array) -> chex.Array:
  """uint8 in [0, 255] to float32 in [0, 1]."""
  return images.astype(jnp.float32) / 255


def take(data: Resident, index: chex.Array) -> Batch:
  """Gathers examples of the resident data as they are."""
  return Batch(to_float(data.images[index]), data.labels[index])


def augment(
  images: chex.Array, keys: chex.PRNGKey, *, padding: int, flip: bool
) -> chex.Array:
  """Random crop after zero padding, and horizontal flip.

  Args:
    images: float32 [B, H, W, C].
    keys: one key per example, [B].
    padding: pixels of zeros on each side; 0 does not crop.
    flip: mirror half of the images.

  Returns:
    float32 [B, H, W, C].
  """

  def one(image, key):
    height, width, channels = image.shape
    crop_key, flip_key = jax.random.split(key)
    if padding:
      padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
      top, left = jax.random.randint(crop_key, (2,), 0, 2 * padding + 1)
      image = jax.lax.dynamic_slice(
        padded, (top, left, 0), (height, width, channels)
      )
    if flip:
      mirrored = jax.random.bernoulli(flip_key)
      image = jnp.where(mirrored, image[:, ::-1], image)
    return image

  return jax.vmap(one)(images, keys)
