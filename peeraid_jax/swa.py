"""Stochastic weight averaging of the student.

Reference:
  Izmailov et al., Averaging Weights Leads to Wider Optima and Better
  Generalization, 2018; once per epoch and with re-estimated batch norm, as
  PeerAiD and AKD2 run it.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from peeraid_jax import nets as nets_lib
from peeraid_jax import parallel
from peeraid_jax.data import batches
from peeraid_jax.models import layers


@jax.jit
def average(mean, params, count):
  """Adds a model to an equal-weight running mean.

  Args:
    mean: parameters that average `count` models; ignored where that is 0.
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
  """Returns the statistics of one batch in batch norm's own structure."""
  zero = jax.tree.map(jnp.zeros_like, net.batch_stats)
  _, moved = net.replace(batch_stats=zero).train(images)
  # From zero, one update leaves 1 - momentum of the batch's statistics.
  share = 1 - layers.BATCH_NORM_MOMENTUM
  return jax.tree.map(lambda s: s / share, moved.batch_stats)


def make_reestimate(*, padding: int, flip: bool, devices=None) -> Callable:
  """Returns a function that gives a network new running statistics.

  Args:
    padding, flip: augmentation, as in `batches.augment`.
    devices: all local ones by default.

  Returns:
    reestimate(net, rows, data, key) -> net. `rows` iterates over batches of
    `batches.Rows` or `batches.Streamed`, split over the devices; every batch
    has equal weight.
  """

  def add(total, net, index, rows, data, key):
    keys = batches.keys_of(jax.random.fold_in(key, index), rows.position)
    raw = rows.read(data)
    images = batches.augment(raw.images, keys, padding=padding, flip=flip)
    new = batch_statistics(net, images)
    return jax.tree.map(lambda t, n: t + n, total, new)

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
    for row in rows:
      total = mapped(total, net, jnp.int32(count), row, data, key)
      if parallel.must_block(devices):
        jax.block_until_ready(total)
      count += 1
    stats = jax.tree.map(lambda t: t / count, total)
    return net.replace(batch_stats=stats)

  return reestimate
