"""Data parallelism: one program on all devices, replicated state, split data.

The training state is replicated: every device holds a full copy, and its
arrays have no leading device axis. Batches are split: their arrays have the
shape [local devices, examples per device, ...]. `pmap` takes and returns both.

With several processes, a mapped program runs on the devices of all of them,
unless devices are given. The state consists of arrays on this process's own
devices. Only Orbax, which saves checkpoints, needs arrays on the devices of
all processes: see `to_global`.
"""

import os
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from peeraid_jax.data import stored

# Name of the device axis, for collectives such as `jax.lax.pmean`.
AXIS = 'batch'

# None stands for all devices of this process.
Devices = Sequence[jax.Device] | None


def _local(devices: Devices) -> list[jax.Device]:
  """Returns the given devices, or all of this process."""
  return list(devices) if devices is not None else jax.local_devices()


def _replicated(devices: Devices) -> jax.sharding.NamedSharding:
  """Returns the sharding of an array with a full copy on every device."""
  mesh = jax.sharding.Mesh(np.array(_local(devices)), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def replicate(tree, devices: Devices = None):
  """Copies a pytree of arrays to every device."""
  return jax.device_put(tree, _replicated(devices))


def _convert(tree, conversion: Callable):
  """Converts between arrays of this process and arrays of all processes."""
  if jax.process_count() == 1:
    return tree
  mesh = _replicated(jax.devices()).mesh
  return conversion(tree, mesh, jax.sharding.PartitionSpec())


def to_global(tree):
  """Turns replicated arrays of this process into arrays of all processes.

  With one process the two are the same, and the tree is returned as it is.
  """
  return _convert(tree, multihost_utils.host_local_array_to_global_array)


def to_local(tree):
  """Turns arrays of all processes into replicated arrays of this process."""
  return _convert(tree, multihost_utils.global_array_to_host_local_array)


def replicated_like(tree):
  """Returns a pytree of shapes and types, replicated over all devices.

  Orbax restores a checkpoint into this description.
  """
  sharding = _replicated(jax.devices())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def pmap(
  function: Callable, *, split: Sequence[bool], out, donate=(), devices=None
) -> Callable:
  """Compiles a function to run on every device at once.

  The function sees the arrays of one device and exchanges values with the
  others by collectives over `AXIS`. That is why `jax.pmap` is used, and not
  `jax.jit` with sharded arguments: the code itself says what each device
  computes and what is exchanged (gradients, batch norm statistics), whereas
  `jax.jit` leaves both to XLA. Only this function calls `jax.pmap`, so that it
  could be replaced here.

  Args:
    function: takes positional arguments only.
    split: for each argument, True if its arrays are split, [local devices,
      ...], of which the function sees [...] on each device; False if they
      are replicated and have no device axis.
    out: the same for the results: True, False, or a pytree of these that is
      a prefix of the result. A replicated result must be equal on all
      devices, for example after `jax.lax.pmean`.
    donate: indices of arguments whose memory the results may reuse. The
      caller must not use these arguments again.
    devices: all devices of all processes by default.

  Returns:
    The compiled function.
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
  """Splits a global batch and returns the part of this process.

  Args:
    array: [B, ...], the same in every process.
    devices: those of this process; all of them by default.
    parts: number of microbatches. Each microbatch is a contiguous piece of
      the batch and is split over all devices of all processes.

  Returns:
    [local devices, B / devices, ...]; with several parts, [local devices,
    parts, B / devices / parts, ...].
  """
  local = len(_local(devices))
  total = local * jax.process_count()
  by_device = array.reshape(parts, total, -1, *array.shape[1:]).swapaxes(0, 1)
  first = local * jax.process_index()
  own = by_device[first : first + local]
  return own if parts > 1 else own[:, 0]


# Fewest pixels of a batch per virtual CPU device. With fewer, the devices
# spend too much time waiting for each other.
_MIN_PIXELS_PER_DEVICE = 32 * 32 * 32
# On a busy machine, a virtual device may wait long for another one in a
# collective. By default XLA ends the process after 40 seconds of waiting.
_LONG_TIMEOUTS = (
  ' --xla_cpu_collective_call_warn_stuck_timeout_seconds=600'
  ' --xla_cpu_collective_call_terminate_timeout_seconds=3600'
)
# JAX versions known to have these flags: XLA ends the process if it meets a
# flag that it does not know.
_VERSIONS_WITH_TIMEOUTS = ('0.10.', '0.11.')


def use_cores(batch_sizes: Sequence[int], pixels: int) -> None:
  """Splits the CPU into virtual devices, so that batches use all its cores.

  XLA runs many convolutions of one device on a single core. The number of
  devices is the largest one up to the number of cores that divides all batch
  sizes and leaves every device enough pixels. It must be set before JAX
  initialises its devices; later calls have no effect.

  Nothing changes if the run has several processes, if the user has set the
  number of CPU devices (JAX_NUM_CPU_DEVICES, or a flag in XLA_FLAGS), or for
  GPUs and TPUs.

  Args:
    batch_sizes: global batch sizes of the run; training's comes first.
    pixels: height times width of an image.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  set_by_user = 'JAX_NUM_CPU_DEVICES' in os.environ
  if set_by_user or 'host_platform_device_count' in flags:
    return
  if jax.distributed.is_initialized():
    return
  cores = stored.available_cores()
  most = min(cores, batch_sizes[0] * pixels // _MIN_PIXELS_PER_DEVICE)
  count = max(
    (n for n in range(2, most + 1) if not any(s % n for s in batch_sizes)),
    default=1,
  )
  if count == 1:
    return
  if jax.__version__.startswith(_VERSIONS_WITH_TIMEOUTS):
    os.environ['XLA_FLAGS'] = flags + _LONG_TIMEOUTS
  try:
    jax.config.update('jax_num_cpu_devices', count)
  except RuntimeError:
    # The devices are initialised already; their number stays.
    return


def check_batch(batch_size: int, name: str, *, parts: int = 1) -> None:
  """Checks that a global batch can be split over devices and microbatches.

  Args:
    batch_size: global batch size.
    name: the config field that holds it, for the message.
    parts: number of microbatches.

  Raises:
    ValueError: it cannot; the message names the nearest sizes that can.
  """
  count = jax.device_count() * parts
  if batch_size % count:
    down = max(batch_size // count, 1) * count
    divisor = f'{jax.device_count()} devices'
    if parts > 1:
      divisor += f' x {parts} microbatches'
    raise ValueError(
      f'config.{name}={batch_size} does not divide over {divisor}; '
      f'{down} or {down + count} would'
    )


def must_block(devices: Devices = None) -> bool:
  """Returns whether a step must end before the next one is dispatched.

  This holds for several virtual CPU devices: with two steps in flight, their
  all-reduces can deadlock.
  """
  local = _local(devices)
  several_devices = len(local) > 1 or jax.process_count() > 1
  return several_devices and local[0].platform == 'cpu'
