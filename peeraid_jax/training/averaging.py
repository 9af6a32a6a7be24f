"""Stochastic weight averaging of the student.

Reference:
  Izmailov et al., Averaging Weights Leads to Wider Optima and Better
  Generalization, 2018; once per epoch and with re-estimated batch norm, as
  PeerAiD and AKD2 run it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches
from peeraid_jax.models import layers
from peeraid_jax.runtime import parallel


@jax.jit
def average(mean, params, count):
  """Adds a model to an equal-weight running mean.

  Args:
    mean: parameters that average `count` models; ignored if that is 0.
    params: of the model to add.
    count: int32.

  Returns:
    The mean of `count + 1` models. The authors average parameters alone,
    batch norm's scale and bias among them.
  """
  return jax.tree.map(
    lambda m, p: jnp.where(count == 0, p, m + (p - m) / (count + 1)),
    mean,
    params,
  )


def batch_statistics(net: nets_lib.Net, images):
  """Returns the statistics of one batch in batch norm's own structure.

  Args:
    net: the network.
    images: float32 [B, H, W, C] in [0, 1].
  """
  zero = jax.tree.map(jnp.zeros_like, net.batch_stats)
  _, updated = net.replace(batch_stats=zero).train(images)
  # From zero, one update leaves 1 - momentum of the batch's statistics.
  share = 1 - layers.BATCH_NORM_MOMENTUM
  return jax.tree.map(lambda s: s / share, updated.batch_stats)


def make_reestimate(
  augmentation: Mapping[str, Any], *, devices=None
) -> Callable:
  """Returns a function that gives a network new running statistics.

  Args:
    augmentation: the settings of `batches.augment`.
    devices: all local ones by default.

  Returns:
    reestimate(net, rows, data, key) -> net. `rows` iterates over batches of
    `batches.Rows` or `batches.Streamed`, split over the devices; every batch
    has equal weight.
  """

  def add(total, net, index, rows, data, key):
    keys = batches.keys_of(jax.random.fold_in(key, index), rows.position)
    batch = rows.read(data)
    images = batches.augment(batch.images, keys, **augmentation)
    statistics = batch_statistics(net, images)
    return jax.tree.map(lambda t, n: t + n, total, statistics)

  mapped = parallel.pmap(
    add,
    split=(False, False, False, True, False, False),
    out=False,
    donate=(0,),
    devices=devices,
  )

  def reestimate(
    net: nets_lib.Net,
    rows: Iterable[batches.Rows | batches.Streamed],
    data,
    key,
  ) -> nets_lib.Net:
    total = jax.tree.map(jnp.zeros_like, net.batch_stats)
    total = parallel.replicate(total, devices)
    count = 0
    for batch_rows in rows:
      total = mapped(total, net, jnp.int32(count), batch_rows, data, key)
      if parallel.must_block(devices):
        jax.block_until_ready(total)
      count += 1
    statistics = jax.tree.map(lambda t: t / count, total)
    return net.replace(batch_stats=statistics)

  return reestimate
