"""The batches of an epoch, as this process feeds them to the step."""

import functools
from collections.abc import Iterator

import ml_collections
import numpy as np

from peeraid_jax.data import batches, stored
from peeraid_jax.runtime import parallel

# Seeds of random streams that must not meet: training, and the re-estimation
# of batch norm for the average.
TRAINING, AVERAGING = 0, 1


def feed(
  config: ml_collections.ConfigDict,
  data,
  epoch: int,
  stream: int,
  start: int = 0,
) -> Iterator[batches.Rows | batches.Streamed]:
  """Yields this process's part of an epoch's batches.

  Args:
    config: validated.
    data: the training `Dataset`.
    epoch: counted from 0.
    stream: `TRAINING` or `AVERAGING`; each has an order of its own.
    start: step within the epoch to begin with.

  Yields:
    Rows of the resident data, or streamed images, split over this process's
    devices and, for training, into microbatches.
  """
  size = config.train.batch_size
  order = batches.epoch_order(
    config.seed, epoch, len(data.labels), size, stream=stream
  )
  # Batch norm is estimated again on whole batches.
  parts = config.train.microbatches if stream == TRAINING else 1
  split = functools.partial(parallel.split, parts=parts)
  place = split(np.arange(size, dtype=np.int32))
  if not config.data.stream:
    for rows in order[start:]:
      yield batches.Rows(split(rows), place)
    return
  crop = None
  if config.data.crop == 'resized':
    seed = (config.seed, epoch, stream)
    crop = stored.Crop(tuple(config.data.crop_area), seed)
  own = order[:, place.reshape(-1)]
  decoded = data.images.batches(
    own, crop=crop, start=start, places=place.reshape(-1)
  )
  for rows, images in zip(own[start:], decoded, strict=True):
    yield batches.Streamed(
      images.reshape(*place.shape, *images.shape[1:]),
      data.labels[rows].reshape(place.shape),
      place,
    )
