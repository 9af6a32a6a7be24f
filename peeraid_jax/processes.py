"""Several processes: the same command on every host, one program over all.

Each process feeds its part of the global batch and evaluates its part of the
examples; process 0 alone writes logs and results. What one process finds
wrong ends all of them, with its message.
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

MODES = ('auto', 'on', 'off')


def _environment() -> str:
  """Returns what in the environment tells of several processes, or ''."""
  if 'JAX_COORDINATOR_ADDRESS' in os.environ:
    return 'JAX_COORDINATOR_ADDRESS'
  # Set by srun alone: an allocation's shell is one process.
  if int(os.environ.get('SLURM_STEP_NUM_TASKS', '1')) > 1:
    return 'SLURM_STEP_NUM_TASKS'
  if int(os.environ.get('OMPI_COMM_WORLD_SIZE', '1')) > 1:
    return 'OMPI_COMM_WORLD_SIZE'
  if len(os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')) > 1:
    return 'TPU_WORKER_HOSTNAMES'
  if os.environ.get('MEGASCALE_COORDINATOR_ADDRESS'):
    return 'MEGASCALE_COORDINATOR_ADDRESS'
  return ''


def _number(value: int, unset: int, variable: str) -> int | None:
  """A setting, else the environment's, else None: to be found out by JAX."""
  if value != unset:
    return value
  text = os.environ.get(variable, '')
  if not text:
    return None
  if not text.isdigit():
    raise ValueError(f'{variable}={text!r} should be a whole number')
  return int(text)


def start(settings: ml_collections.ConfigDict) -> None:
  """Joins the other processes, if there are any; before any other use of JAX.

  Args:
    settings: `config.distributed`.

  Raises:
    ValueError: a setting is missing or bad.
    OSError: they cannot meet. Others that do not come within
      `timeout_seconds` end this process, with a message.
  """
  if settings.mode not in MODES:
    raise ValueError(
      f'config.distributed.mode={settings.mode!r} should be one of '
      f'{", ".join(map(repr, MODES))}'
    )
  if settings.mode == 'off':
    return
  address = settings.coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS')
  if settings.mode == 'auto' and not (settings.coordinator or _environment()):
    return
  if address and not address.rpartition(':')[2].isdigit():
    raise ValueError(
      f'config.distributed.coordinator={address!r} should be HOST:PORT'
    )
  count = _number(settings.processes, 0, 'JAX_NUM_PROCESSES')
  index = _number(settings.process, -1, 'JAX_PROCESS_ID')
  if count is not None and index is not None and not 0 <= index < count:
    raise ValueError(
      f'config.distributed.process={index} should be in [0, {count - 1}]: '
      f'there are {count} processes'
    )
  limit = settings.timeout_seconds
  problem = (
    f'process {_or(index)} of {_or(count)} did not meet the others at '
    f'{_or(address)} within {limit} s (config.distributed.timeout_seconds): '
    'is process 0 running there, is the port free and open, were all '
    f'{_or(count)} processes started?'
  )
  # Past its own limit JAX aborts the process, with a stack trace alone.
  watch = threading.Timer(limit, _give_up, [problem])
  watch.daemon = True
  watch.start()
  try:
    jax.distributed.initialize(
      coordinator_address=address,
      num_processes=count,
      process_id=index,
      initialization_timeout=limit + 60,
    )
  except ValueError as error:
    raise ValueError(
      f'the processes of this run are not known ({error}). Set '
      'config.distributed.coordinator, .processes and .process, or '
      'JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; '
      'config.distributed.mode=off runs alone'
    ) from None
  except RuntimeError as error:
    raise OSError(f'{problem} ({str(error)[:200]})') from None
  finally:
    watch.cancel()


def _or(value: Any) -> Any:
  return '?' if value is None else value


def _give_up(problem: str) -> None:
  """Ends the process from beside a call that does not return."""
  print(f'error: {problem}', file=sys.stderr, flush=True)
  os._exit(1)


def gather_text(text: str) -> list[str]:
  """Returns the text of every process, in their order."""
  # Asking for their number would settle what devices there are.
  if not jax.distributed.is_initialized() or jax.process_count() == 1:
    return [text]
  mine = np.frombuffer(text.encode(), np.uint8)
  sizes = np.ravel(multihost_utils.process_allgather(np.int32(len(mine))))
  padded = np.zeros(max(sizes.max(), 1), np.uint8)
  padded[: len(mine)] = mine
  every = np.asarray(multihost_utils.process_allgather(padded))
  every = every.reshape(len(sizes), -1)
  return [
    bytes(row[:size]).decode() for row, size in zip(every, sizes, strict=True)
  ]


def gather(content: Any) -> list[Any]:
  """Returns the JSON value of every process, in their order."""
  return [json.loads(text) for text in gather_text(json.dumps(content))]


def together(work: Callable[[], Any]) -> Any:
  """Runs what may fail in one process; then all of them end.

  Args:
    work: without communication between processes.

  Raises:
    ValueError, OSError: what `work` raised here, or, as an OSError, in another
      process.
  """
  problem, result = None, None
  try:
    result = work()
  except (ValueError, OSError) as error:
    problem = error
  told = gather_text('' if problem is None else str(problem) or 'an error')
  if problem is not None:
    raise problem
  for index, text in enumerate(told):
    if text:
      raise OSError(f'process {index}: {text}')
  return result


def check_agreement(what: str, content: dict[str, Any]) -> None:
  """Checks that all processes were given the same.

  Args:
    what: named in the message.
    content: flat, JSON values.

  Raises:
    ValueError: names the first process that differs from process 0, and how.
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
  """Whether a flag is set in any process."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def share(flags: np.ndarray) -> np.ndarray:
  """Joins flags of all processes: set where one has set them."""
  if jax.process_count() == 1:
    return flags
  return np.any(multihost_utils.process_allgather(flags), axis=0)


def mine(count: int) -> np.ndarray:
  """Returns the rows of `count` that this process looks at, int [n]."""
  return np.arange(jax.process_index(), count, jax.process_count())
