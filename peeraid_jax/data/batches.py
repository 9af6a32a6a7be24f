"""Training batches as a pure function of (seed, step), built on the device.

The data set lives on the device as uint8. A batch is one row of the epoch's
order: the compiled step gathers its images, crops and flips them. A data set
that does not fit is read by the host batch by batch, and enters the same step.
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
  """Rows of a data set by class: class c has rows[first[c]:first[c + 1]].

  Attributes:
    rows: int32 [N].
    first: int32 [num_classes + 1].
  """

  rows: chex.Array
  first: chex.Array


class Resident(NamedTuple):
  """A data set on the device.

  Attributes:
    images: uint8 [N, H, W, C].
    labels: int32 [N].
    classes: rows by class, for methods that draw images of a class.
  """

  images: chex.Array
  labels: chex.Array
  classes: Classes | None = None


class Pool(flax.struct.PyTreeNode):
  """The training images, for methods that draw further ones by class.

  Attributes:
    data: the training images, with `classes`.
    padding, flip, rotation: augmentation, as in `augment`.
  """

  data: Resident
  padding: int = flax.struct.field(pytree_node=False)
  flip: bool = flax.struct.field(pytree_node=False)
  rotation: float = flax.struct.field(pytree_node=False, default=0.0)

  def draw(self, labels: chex.Array, keys: chex.PRNGKey) -> chex.Array:
    """Draws, with replacement, a freshly augmented image of each label.

    Args:
      labels: int [B], class of each image.
      keys: one key per image, [B].

    Returns:
      float32 [B, H, W, C] in [0, 1].
    """
    keys = jax.vmap(jax.random.split)(keys)
    rows, first = self.data.classes
    counts = first[labels + 1] - first[labels]
    draw_below = jax.vmap(lambda key, n: jax.random.randint(key, (), 0, n))
    index = rows[first[labels] + draw_below(keys[:, 0], counts)]
    return augment(
      to_float(self.data.images[index]),
      keys[:, 1],
      padding=self.padding,
      flip=self.flip,
      rotation=self.rotation,
    )


class Batch(NamedTuple):
  """The input of a method's training step.

  Attributes:
    images: float32 [B, H, W, C] in [0, 1], augmented.
    labels: int32 [B].
    epoch: int32, counted from 0; for methods whose losses change over epochs.
    pool: training images to draw further ones from; None unless the method
      declares that it draws.
  """

  images: chex.Array
  labels: chex.Array
  epoch: chex.Array | int = 0
  pool: Pool | None = None


class Rows(NamedTuple):
  """The examples of the resident data that make up a batch.

  Attributes:
    index: int32 [B], rows of the resident data.
    position: int32 [B], places in the global batch. Random numbers are keyed
      by them, so that they do not depend on the number of devices.
  """

  index: chex.Array
  position: chex.Array

  def read(self, data: Resident) -> Batch:
    """Gathers the examples, not augmented."""
    return take(data, self.index)


class Streamed(NamedTuple):
  """A batch that the host has read; the counterpart of `Rows`.

  Attributes:
    images: uint8 [B, H, W, C].
    labels: int32 [B].
    position: int32 [B], as in `Rows`.
  """

  images: chex.Array
  labels: chex.Array
  position: chex.Array

  def read(self, data) -> Batch:
    """Returns the examples, not augmented; ignores the resident data."""
    del data
    return Batch(to_float(self.images), self.labels)


def epoch_order(
  seed: int, epoch: int, examples: int, batch_size: int, *, stream: int = 0
) -> np.ndarray:
  """Returns the rows of each batch of an epoch, in random order.

  The last batch is filled up with the first rows of the same epoch. So every
  batch has the same shape, and an epoch has as many steps as in the papers.

  Args:
    seed: the run's seed.
    epoch: counted from 0.
    examples: number of training examples.
    batch_size: global batch size.
    stream: orders with different numbers are independent.

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
  """Derives keys [B] from a step's key and places int [B] in the batch."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, position)


def read(
  images: np.ndarray | stored.Stored, rows: np.ndarray
) -> Iterator[np.ndarray]:
  """Yields batches of images on the host, not augmented.

  Args:
    images: uint8 [N, H, W, C], the images of a `Dataset`.
    rows: int [batches, B], the rows of each batch.

  Yields:
    uint8 [B, H, W, C].
  """
  if isinstance(images, stored.Stored):
    yield from images.batches(rows)
  else:
    yield from (images[row] for row in rows)


def to_float(images: chex.Array) -> chex.Array:
  """Converts uint8 in [0, 255] to float32 in [0, 1]."""
  return images.astype(jnp.float32) / 255


def take(data: Resident, index: chex.Array) -> Batch:
  """Gathers examples of the resident data, rows int [B], not augmented."""
  return Batch(to_float(data.images[index]), data.labels[index])


def augment(
  images: chex.Array,
  keys: chex.PRNGKey,
  *,
  padding: int,
  flip: bool,
  rotation: float = 0.0,
) -> chex.Array:
  """Random crop after zero padding, horizontal flip and rotation, in turn.

  Args:
    images: float32 [B, H, W, C].
    keys: one key per example, [B].
    padding: pixels of zeros on each side before the crop; 0 does not crop.
    flip: mirror half of the images.
    rotation: largest angle in degrees: each image is rotated by an angle
      drawn uniformly from [-rotation, rotation]; 0 does not rotate.

  Returns:
    float32 [B, H, W, C].
  """

  def augment_one(image, key):
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
    if rotation:
      # `split` above uses the numbers 0 and 1: 2 is a key of its own, and runs
      # without rotation keep their crops and flips.
      angle_key = jax.random.fold_in(key, 2)
      degrees = jax.random.uniform(angle_key, minval=-rotation, maxval=rotation)
      image = rotate(image, degrees)
    return image

  return jax.vmap(augment_one)(images, keys)


def rotate(image: chex.Array, degrees: chex.Array | float) -> chex.Array:
  """Rotates an image counter-clockwise about its centre.

  Inverse mapping: with (y, x) the offset of an output pixel from the centre
  ((H - 1) / 2, (W - 1) / 2), rows counted downwards, and t the angle, its
  value is that of the input pixel nearest to the offset

    (x sin t + y cos t, x cos t - y sin t).

  Pixels from outside of the input are zero; the size stays. This is what
  torchvision's `RandomRotation` does by default, for an angle it has drawn.

  Args:
    image: [H, W, C].
    degrees: angle in degrees.

  Returns:
    [H, W, C].
  """
  height, width, _ = image.shape
  radians = jnp.deg2rad(degrees)
  sine, cosine = jnp.sin(radians), jnp.cos(radians)
  centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
  y = jnp.arange(height)[:, None] - centre_y
  x = jnp.arange(width)[None, :] - centre_x
  row = jnp.round(x * sine + y * cosine + centre_y).astype(jnp.int32)
  column = jnp.round(x * cosine - y * sine + centre_x).astype(jnp.int32)
  inside = (0 <= row) & (row < height) & (0 <= column) & (column < width)
  nearest = image[row.clip(0, height - 1), column.clip(0, width - 1)]
  return jnp.where(inside[..., None], nearest, 0)
