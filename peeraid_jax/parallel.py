"""Devices: one program mapped over them, replicated and split arrays.

The state has no leading device axis: it is replicated, enters and leaves the
mapped step whole, and is donated.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np

AXIS = 'batch'

Devices = Sequence[jax.Device] | None


def _local(devices: Devices) -> list[jax.Device]:
  return list(devices) if devices is not None else jax.local_devices()


def _replicated(devices: Devices) -> jax.sharding.NamedSharding:
  mesh = jax.sharding.Mesh(np.array(_local(devices)), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def replicate(tree, devices: Devices = None):
  """Copies a pytree of arrays to every device."""
  return jax.device_put(tree, _replicated(devices))


def replicated_like(tree, devices: Devices = None):
  """Returns the shapes of a pytree, to be restored onto every device."""
  sharding = _replicated(devices)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def pmap(
  function: Callable, *, split: Sequence[bool], out, donate=(), devices=None
) -> Callable:
  """Maps a per-device function with collectives over `AXIS`.

  Args:
    function: its arguments are positional.
    split: for each argument, whether it has a leading device axis; the
      others are replicated.
    out: the same of its results, as a prefix tree.
    donate: arguments whose memory the results may take.
    devices: all local ones by default.
  """
  return jax.pmap(
    function,
    axis_name=AXIS,
    in_axes=tuple(0 if s else None for s in split),
    out_axes=jax.tree.map(lambda s: 0 if s else None, out),
    donate_argnums=donate,
    devices=_local(devices) if devices is not None else None,
  )


def split(array: np.ndarray, devices: Devices = None) -> np.ndarray:
  """Gives this process its part of a global batch.

  Args:
    array: [B, ...], the same in every process.
    devices: all local ones by default.

  Returns:
    [local devices, B / devices, ...].
  """
  local = len(_local(devices))
  total = local * jax.process_count()
  parts = array.reshape(total, -1, *array.shape[1:])
  first = local * jax.process_index()
  return parts[first : first + local]


def check_batch(batch_size: int, name: str) -> None:
  """Checks that a global batch divides over all devices.

  Raises:
    ValueError: names the field, its value and the nearest that would do.
  """
  count = jax.device_count()
  if batch_size % count:
    down = max(batch_size // count, 1) * count
    raise ValueError(
      f'config.{name}={batch_size} does not divide over {count} devices; '
      f'{down} or {down + count} would'
    )


def must_block(devices: Devices = None) -> bool:
  """Whether each step has to end before the next is dispatched.

  Several virtual CPU devices deadlock in their all-reduce with two steps in
  flight.
  """
  local = _local(devices)
  return len(local) > 1 and local[0].platform == 'cpu'
