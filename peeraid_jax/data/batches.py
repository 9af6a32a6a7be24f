"""Batches as a pure function of (seed, step), made on the device.

The data set lives on the device as uint8. A batch is a row of the epoch's
order, gathered, cropped and flipped inside the compiled step. What does not
fit is read by the host, batch by batch, and enters the same step.
"""

from collections.abc import Iterator
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax.data import stored


class Classes(NamedTuple):
  """Rows of a data set by class: those of c are rows[first[c]:first[c + 1]].

  Attributes:
    rows: int32 [N].
    first: int32 [num_classes + 1].
  """

  rows: chex.Array
  first: chex.Array


class Resident(NamedTuple):
  """A data set on the device: uint8 [N, H, W, C] and int32 [N].

  `classes` is there for methods that draw images of a class.
  """

  images: chex.Array
  labels: chex.Array
  classes: Classes | None = None


class Pool(flax.struct.PyTreeNode):
  """The training images, of which a method draws some by class."""

  data: Resident
  padding: int = flax.struct.field(pytree_node=False)
  flip: bool = flax.struct.field(pytree_node=False)

  def draw(self, labels: chex.Array, keys: chex.PRNGKey) -> chex.Array:
    """Draws, with replacement, a freshly augmented image of each label.

    Args:
      labels: int [B], the wanted classes.
      keys: one key per image, [B].

    Returns:
      float32 [B, H, W, C] in [0, 1].
    """
    keys = jax.vmap(jax.random.split)(keys)
    rows, first = self.data.classes
    counts = first[labels + 1] - first[labels]
    place = jax.vmap(lambda k, n: jax.random.randint(k, (), 0, n))
    index = rows[first[labels] + place(keys[:, 0], counts)]
    return augment(
      to_float(self.data.images[index]),
      keys[:, 1],
      padding=self.padding,
      flip=self.flip,
    )


class Batch(NamedTuple):
  """What a method sees.

  Attributes:
    images: float32 [B, H, W, C] in [0, 1], augmented.
    labels: int32 [B].
    epoch: int32, counted from 0; for methods that change their terms.
    pool: to draw further training images from; None unless the method says
      that it draws.
  """

  images: chex.Array
  labels: chex.Array
  epoch: chex.Array | int = 0
  pool: Pool | None = None


class Rows(NamedTuple):
  """Which examples of the resident data make up a batch.

  Attributes:
    index: int32 [B], rows of the resident data.
    position: int32 [B], places in the global batch: they key the noise, so
      that it does not depend on the number of devices.
  """

  index: chex.Array
  position: chex.Array

  def read(self, data: Resident) -> Batch:
    """Gathers the examples as they are."""
    return take(data, self.index)


class Streamed(NamedTuple):
  """A batch that the host has read: what `Rows` are to resident data.

  Attributes:
    images: uint8 [B, H, W, C].
    labels: int32 [B].
    position: int32 [B], as of `Rows`.
  """

  images: chex.Array
  labels: chex.Array
  position: chex.Array

  def read(self, data) -> Batch:
    """Returns the examples; there is no resident data."""
    del data
    return Batch(to_float(self.images), self.labels)


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


def classes_of(labels: np.ndarray, num_classes: int) -> Classes:
  """Sorts the rows of a data set by class.

  Args:
    labels: int [N].
    num_classes: number of classes.

  Raises:
    ValueError: a class has no image, so that none could be drawn.
  """
  labels = np.asarray(labels)
  counts = np.bincount(labels, minlength=num_classes)
  empty = np.flatnonzero(counts == 0)
  if len(empty):
    raise ValueError(
      'this method draws training images by class, and there are none of '
      f'class {", ".join(map(str, empty[:10]))}; use more of them '
      '(config.data.train_examples)'
    )
  first = np.concatenate([[0], np.cumsum(counts)])
  rows = np.argsort(labels, kind='stable')
  return Classes(rows.astype(np.int32), first.astype(np.int32))


def keys_of(key: chex.PRNGKey, position: chex.Array) -> chex.PRNGKey:
  """Returns one key per example, [B], from a step's key."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, position)


def read(
  images: np.ndarray | stored.Stored, rows: np.ndarray
) -> Iterator[np.ndarray]:
  """Yields the images of each row of rows, on the host and as they are.

  Args:
    images: of a `Dataset`.
    rows: int [batches, B].

  Yields:
    uint8 [B, H, W, C].
  """
  if isinstance(images, stored.Stored):
    yield from images.batches(rows)
  else:
    yield from (images[row] for row in rows)


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
