"""Devices: one program mapped over them, replicated and split arrays.

The state has no leading device axis: it is replicated, enters and leaves the
mapped step whole, and is donated. With several processes a program is mapped
over the devices of all of them, unless it is given devices; the state is an
array of each process's own devices, and an array of all for Orbax alone.
"""

import os
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

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


def _convert(tree, function: Callable):
  if jax.process_count() == 1:
    return tree
  mesh = _replicated(jax.devices()).mesh
  return function(tree, mesh, jax.sharding.PartitionSpec())


def to_global(tree):
  """Turns replicated arrays of this process into arrays of all processes."""
  return _convert(tree, multihost_utils.host_local_array_to_global_array)


def to_local(tree):
  """Undoes `to_global`."""
  return _convert(tree, multihost_utils.global_array_to_host_local_array)


def replicated_like(tree):
  """Returns the shapes of a pytree, to be restored onto every device."""
  sharding = _replicated(jax.devices())
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
    devices: those of all processes by default.
  """
  return jax.pmap(
    function,
    axis_name=AXIS,
    in_axes=tuple(0 if s else None for s in split),
    out_axes=jax.tree.map(lambda s: 0 if s else None, out),
    donate_argnums=donate,
    devices=_local(devices) if devices is not None else None,
  )


def split(
  array: np.ndarray, devices: Devices = None, *, parts: int = 1
) -> np.ndarray:
  """Gives this process its part of a global batch.

  Args:
    array: [B, ...], the same in every process.
    devices: all local ones by default.
    parts: microbatches, each of which is divided over all devices.

  Returns:
    [local devices, B / devices, ...]; with parts, [local devices, parts,
    B / devices / parts, ...].
  """
  local = len(_local(devices))
  total = local * jax.process_count()
  folded = array.reshape(parts, total, -1, *array.shape[1:]).swapaxes(0, 1)
  first = local * jax.process_index()
  mine = folded[first : first + local]
  return mine if parts > 1 else mine[:, 0]


# A device with fewer pixels of a batch waits for the others too often.
_LEAST_PIXELS = 32 * 32 * 32
# A device may wait long for another on a busy machine; by default XLA ends the
# process after 40 seconds. It also ends at flags that it does not know.
_PATIENCE = (
  ' --xla_cpu_collective_call_warn_stuck_timeout_seconds=600'
  ' --xla_cpu_collective_call_terminate_timeout_seconds=3600'
)
_WITH_PATIENCE = ('0.10.', '0.11.')


def use_cores(batch_sizes: Sequence[int], pixels: int) -> None:
  """Divides batches over the cores of this process, as virtual devices.

  XLA runs many convolutions of one device on one core alone. Does nothing
  where several processes are one run, where there is a GPU or TPU, or where
  the user has said how many devices a CPU has (JAX_NUM_CPU_DEVICES).

  Args:
    batch_sizes: that have to divide; the first is the one of training.
    pixels: of an image.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  given = 'JAX_NUM_CPU_DEVICES' in os.environ
  if given or 'host_platform_device_count' in flags:
    return
  if jax.distributed.is_initialized():
    return
  cores = os.cpu_count() or 1
  if hasattr(os, 'sched_getaffinity'):
    cores = len(os.sched_getaffinity(0))
  most = min(cores, batch_sizes[0] * pixels // _LEAST_PIXELS)
  count = max(
    (n for n in range(2, most + 1) if not any(s % n for s in batch_sizes)),
    default=1,
  )
  if count == 1:
    return
  if jax.__version__.startswith(_WITH_PATIENCE):
    os.environ['XLA_FLAGS'] = flags + _PATIENCE
  try:
    jax.config.update('jax_num_cpu_devices', count)
  except RuntimeError:
    # Somebody has asked for the devices already.
    return


def check_batch(batch_size: int, name: str, *, parts: int = 1) -> None:
  """Checks that a global batch divides over all devices and microbatches.

  Raises:
    ValueError: names the field, its value and the nearest that would do.
  """
  count = jax.device_count() * parts
  if batch_size % count:
    down = max(batch_size // count, 1) * count
    over = f'{jax.device_count()} devices'
    if parts > 1:
      over += f' x {parts} microbatches'
    raise ValueError(
      f'config.{name}={batch_size} does not divide over {over}; '
      f'{down} or {down + count} would'
    )


def must_block(devices: Devices = None) -> bool:
  """Whether each step has to end before the next is dispatched.

  Several virtual CPU devices deadlock in their all-reduce with two steps in
  flight.
  """
  local = _local(devices)
  several = len(local) > 1 or jax.process_count() > 1
  return several and local[0].platform == 'cpu'
