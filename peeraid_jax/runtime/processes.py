"""Runs of several processes: start, agreement, and exchange of host values.

Every host runs the same command, and JAX joins the processes to one program
over all devices. Each process feeds its part of the global batch and evaluates
its part of the examples. Process 0 alone writes logs and results. If one
process finds an error in its input, all processes end with its message.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from peeraid_jax.runtime import forwarding, interrupts, peers

# Values of `config.distributed.mode`.
MODES = ('auto', 'on', 'off')
# A process that has not answered for so many seconds counts as dead. Its thread
# cannot answer while a library is imported or a large program is written.
_PATIENCE = 60


def _environment() -> str:
  """Names the environment variable that announces several processes, or ''."""
  if 'JAX_COORDINATOR_ADDRESS' in os.environ:
    return 'JAX_COORDINATOR_ADDRESS'
  # Only srun sets it. SLURM_NTASKS is also set in the shell of an allocation,
  # which is a single process.
  if int(os.environ.get('SLURM_STEP_NUM_TASKS', '1')) > 1:
    return 'SLURM_STEP_NUM_TASKS'
  if int(os.environ.get('OMPI_COMM_WORLD_SIZE', '1')) > 1:
    return 'OMPI_COMM_WORLD_SIZE'
  if len(os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')) > 1:
    return 'TPU_WORKER_HOSTNAMES'
  if os.environ.get('MEGASCALE_COORDINATOR_ADDRESS'):
    return 'MEGASCALE_COORDINATOR_ADDRESS'
  return ''


def _setting_or_variable(value: int, unset: int, variable: str) -> int | None:
  """Returns a setting, or an environment variable's number if it is unset.

  None stands for neither; JAX then asks the cluster's scheduler.
  """
  if value != unset:
    return value
  text = os.environ.get(variable, '')
  if not text:
    return None
  if not text.isdigit():
    raise ValueError(f'{variable}={text!r} should be a whole number')
  return int(text)


def start(settings: ml_collections.ConfigDict) -> None:
  """Joins the other processes of the run, if there are any.

  It must come before any other use of JAX. With mode 'auto' it joins only if
  the settings or the environment announce several processes.

  Args:
    settings: `config.distributed`.

  Raises:
    ValueError: a setting is missing or bad.
    OSError: the processes cannot connect. If another process does not arrive
      within `timeout_seconds`, this process ends with a message instead.
  """
  if settings.mode not in MODES:
    raise ValueError(
      f'config.distributed.mode={settings.mode!r} should be one of '
      f'{", ".join(map(repr, MODES))}'
    )
  if settings.mode == 'off':
    return
  if settings.mode == 'auto' and not (settings.coordinator or _environment()):
    return
  address = settings.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS')
  if address and not address.rpartition(':')[2].isdigit():
    raise ValueError(
      f'config.distributed.coordinator={address!r} should be HOST:PORT'
    )
  count = _setting_or_variable(settings.processes, 0, 'JAX_NUM_PROCESSES')
  index = _setting_or_variable(settings.process, -1, 'JAX_PROCESS_ID')
  if count is not None and index is not None and not 0 <= index < count:
    raise ValueError(
      f'config.distributed.process={index} should be in [0, {count - 1}]: '
      f'there are {count} processes'
    )
  _connect(address, count, index, settings.timeout_seconds)


def _connect(
  address: str | None, count: int | None, index: int | None, timeout: int
) -> None:
  """Connects this process to the coordinator, within `timeout` seconds."""
  problem = (
    f'process {_or_unknown(index)} of {_or_unknown(count)} did not meet the '
    f'others at {_or_unknown(address)} within {timeout} s '
    '(config.distributed.timeout_seconds): is process 0 running there, is the '
    f'port free and open, were all {_or_unknown(count)} processes started?'
  )
  # After its own timeout JAX aborts the process and prints only a stack trace.
  # The timer ends the process earlier, with a message.
  timer = threading.Timer(timeout, _exit_with, [problem])
  timer.daemon = True
  timer.start()
  # JAX's service would take the place of our handler of SIGTERM.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    with forwarding.connecting() as forwarders:
      jax.distributed.initialize(
        coordinator_address=address,
        num_processes=count,
        process_id=index,
        initialization_timeout=timeout + 60,
      )
  except ValueError as error:
    raise ValueError(
      'the coordinator, number or index of the processes of this run are not '
      f'known ({error}). Set config.distributed.coordinator, .processes and '
      '.process, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and '
      'JAX_PROCESS_ID; with config.distributed.mode=off the process runs alone'
    ) from None
  except RuntimeError as error:
    raise OSError(f'{problem} ({str(error)[:200]})') from None
  finally:
    timer.cancel()
  peers.watch(min(_PATIENCE, timeout), *forwarders[:1])


def _or_unknown(value: Any) -> Any:
  return '?' if value is None else value


def _exit_with(problem: str) -> None:
  """Ends the process from another thread than the one that hangs in JAX."""
  print(f'error: {problem}', file=sys.stderr, flush=True)
  os._exit(1)


def gather_text(text: str) -> list[str]:
  """Returns the text of every process, in the order of their indices."""
  # The first condition avoids `jax.process_count`, which initialises the
  # devices: `parallel.use_cores` may still have to set their number.
  if not jax.distributed.is_initialized() or jax.process_count() == 1:
    return [text]
  encoded = np.frombuffer(text.encode(), np.uint8)
  sizes = np.ravel(multihost_utils.process_allgather(np.int32(len(encoded))))
  padded = np.zeros(max(sizes.max(), 1), np.uint8)
  padded[: len(encoded)] = encoded
  gathered = np.asarray(multihost_utils.process_allgather(padded))
  gathered = gathered.reshape(len(sizes), -1)
  return [
    bytes(row[:size]).decode()
    for row, size in zip(gathered, sizes, strict=True)
  ]


def gather(content: Any) -> list[Any]:
  """Returns the JSON value of every process, in the order of their indices."""
  return [json.loads(text) for text in gather_text(json.dumps(content))]


def together(work: Callable[[], Any]) -> Any:
  """Calls a function in every process; if it fails in one, all raise.

  Args:
    work: must not communicate with other processes, because some may already
      have failed. If it takes long, it should call `Interrupts.check`, which
      raises as soon as another process has failed or received a signal.

  Returns:
    What `work` returned in this process.

  Raises:
    ValueError, OSError: raised by `work` in this process; or an OSError with
      the message of another process.
    interrupts.Interrupted: raised by `work` in any process.
  """
  own_error: BaseException | None = None
  result, own_message, number = None, '', 0
  try:
    result = work()
  except interrupts.Interrupted as error:
    own_error, number = error, error.number
  except (ValueError, OSError) as error:
    own_error, own_message = error, str(error) or 'an error'
    peers.tell_failed(own_message)
  ends = gather([own_message, number])
  if own_error is not None:
    raise own_error
  for index, (message, _) in enumerate(ends):
    if message:
      raise OSError(peers.of_process(index, message))
  for _, number in ends:
    if number:
      raise interrupts.Interrupted(number)
  return result


def check_agreement(what: str, content: dict[str, Any]) -> None:
  """Checks that all processes have the same values.

  Args:
    what: name of the values in the message, in the plural.
    content: name -> JSON value, of this process.

  Raises:
    ValueError: lists the values in which a process differs from process 0.
  """
  first, *others = gather(content)
  for index, other in enumerate(others, start=1):
    lines = [
      f'  {name}: {first.get(name)!r} in process 0, {other.get(name)!r} in '
      f'process {index}'
      for name in sorted({*first, *other})
      if first.get(name) != other.get(name)
    ]
    if lines:
      raise ValueError(
        f'the processes of this run have different {what}:\n'
        + '\n'.join(lines)
        + '\nGive every one the same command.'
      )


def any_of(flag: bool) -> bool:
  """Returns whether the flag is set in any process."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def share(flags: np.ndarray) -> np.ndarray:
  """Combines the flags of all processes by a logical or.

  Args:
    flags: bool [N]; a process sets those of its own examples.

  Returns:
    bool [N], the same in every process.
  """
  if jax.process_count() == 1:
    return flags
  return np.any(multihost_utils.process_allgather(flags), axis=0)


def mine(count: int) -> np.ndarray:
  """Returns the rows of `count` examples that this process handles, int [n].

  Process p of P handles rows p, p + P, p + 2 P, ...
  """
  return np.arange(jax.process_index(), count, jax.process_count())
