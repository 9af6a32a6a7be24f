"""Sides of a comparison: processes that take PeerAiD's step in turns.

Each side is a process of its own, so that each framework is alone in its
process. Only one side computes at a time: A, B, C, A, B, C.
"""

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from absl import logging

from experiments.benchmarks import levers, timing


@dataclasses.dataclass(frozen=True)
class Job:
  """One side of a comparison.

  Attributes:
    side: 'ours', a key of `levers.LEVERS`, or one of `torch_step.VARIANTS`.
    network: architecture of student and peer.
    width: base width of a ResNet; a WideResNet's name contains its width.
    batch: images of a step.
    dtype: data type of the networks' computation.
    attack_steps: number of steps of PGD.
    devices: number of GPUs, or of virtual devices of a CPU; 0 takes as many
      as a training run would.
  """

  side: str
  network: str
  width: int
  batch: int
  dtype: str = 'float32'
  attack_steps: int = 10
  devices: int = 0


def config(job: Job):
  """Returns the config of a job's step."""
  from experiments.benchmarks import programs

  return programs.config(
    job.network,
    job.width,
    **{
      'train.batch_size': job.batch,
      'attack.steps': job.attack_steps,
      'dtype': job.dtype,
    },
  )


def _jax_side(job: Job):
  """Compiles our step.

  Returns:
    (a function that takes a step and returns its loss, facts about the
    compiled program).
  """
  import jax

  from experiments.benchmarks import programs
  from peeraid_jax.runtime import parallel

  # Divides a CPU into virtual devices, as a training run does.
  parallel.use_cores((job.batch,), 32 * 32)
  lever = levers.LEVERS.get(job.side, levers.NONE)
  step, (state, *rest) = lever.apply(*programs.concrete(config(job)))
  start = time.perf_counter()
  with lever.tracing():
    lowered = step.lower(state, *rest)
  traced = time.perf_counter()
  compiled = lowered.compile()
  end = time.perf_counter()
  facts = {
    'devices': jax.device_count(),
    'trace_seconds': traced - start,
    'compile_seconds': end - traced,
    'temporary_bytes': compiled.memory_analysis().temp_size_in_bytes,
    'flags': os.environ.get('XLA_FLAGS', ''),
    'steps_per_call': lever.steps,
  }

  def take():
    nonlocal state
    state, values = compiled(state, *rest)
    jax.block_until_ready(values)
    return float(values['loss'])

  return take, facts


def _torch_side(job: Job):
  """Builds PyTorch's step; returns the same as `_jax_side`."""
  import torch

  from experiments.benchmarks import torch_step

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  torch.manual_seed(0)
  torch.backends.cudnn.benchmark = True
  variant = torch_step.VARIANTS[job.side]
  student, peer = (
    torch_step.network(job.network, job.width).to(device) for _ in range(2)
  )
  step = torch_step.Step(
    student,
    peer,
    variant,
    bfloat16=job.dtype == 'bfloat16',
    steps=job.attack_steps,
  )
  images = torch.rand((job.batch, 3, 32, 32), device=device)
  labels = torch.randint(10, (job.batch,), device=device)
  facts = {
    'threads': torch.get_num_threads(),
    'tf32': torch.backends.cudnn.allow_tf32,
    'torch': torch.__version__,
    **dataclasses.asdict(variant),
  }
  return lambda: float(step(images, labels)), facts


def _peak_bytes() -> int:
  """Returns the peak memory of this process on its device."""
  jax, torch = (sys.modules.get(name) for name in ('jax', 'torch'))
  if jax is not None and jax.default_backend() != 'cpu':
    return jax.local_devices()[0].memory_stats()['peak_bytes_in_use']
  if torch is not None and torch.cuda.is_available():
    return torch.cuda.max_memory_allocated()
  # `ru_maxrss` is in KiB.
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def work(job: Job) -> None:
  """Runs a side: the body of its process.

  Prints the facts about the side as one line of JSON. Then, for each line of
  standard input, which is a number of calls, makes these calls and prints
  another line: seconds per step of each call, loss and peak memory. One
  untimed call precedes each turn, because threads and caches have gone idle
  during the turns of the others.
  """
  is_ours = job.side == 'ours' or job.side in levers.LEVERS
  take, facts = (_jax_side if is_ours else _torch_side)(job)
  steps_per_call = facts.get('steps_per_call', 1)
  start = time.perf_counter()
  take()
  facts['first_step_seconds'] = time.perf_counter() - start
  take()
  print(json.dumps(facts), flush=True)
  for line in sys.stdin:
    take()
    seconds = []
    for _ in range(int(line)):
      start = time.perf_counter()
      loss = take()
      seconds.append((time.perf_counter() - start) / steps_per_call)
    turn = {'seconds': seconds, 'loss': loss, 'peak_bytes': _peak_bytes()}
    print(json.dumps(turn), flush=True)


class Side:
  """Handle of a process that takes steps on request; see `work`.

  Attributes:
    facts: what the process has reported about its step and its last turn.
    turns: seconds per step of each call, for each turn.
  """

  def __init__(self, job: Job):
    environment = dict(os.environ)
    if job.devices:
      environment['JAX_NUM_CPU_DEVICES'] = str(job.devices)
      environment['CUDA_VISIBLE_DEVICES'] = ','.join(
        str(n) for n in range(job.devices)
      )
    # Compilation is measured, so it must not come from the cache.
    environment['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
    # All sides share the GPU's memory.
    environment['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
    lever_flags = levers.LEVERS.get(job.side, levers.NONE).flags
    if lever_flags:
      inherited = environment.get('XLA_FLAGS', '')
      environment['XLA_FLAGS'] = f'{inherited} {lever_flags}'.strip()
    self._process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'experiments.benchmarks.sides',
        json.dumps(dataclasses.asdict(job)),
      ],
      env=environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.facts = self._read()
    self.turns: list[list[float]] = []

  def _read(self) -> dict:
    """Returns the next line of JSON that the process prints."""
    for line in self._process.stdout:
      if line.startswith('{'):
        return json.loads(line)
    status = self._process.wait()
    raise RuntimeError(
      f'a side ended with exit status {status}; its own message is above'
    )

  def take(self, calls: int) -> None:
    """Makes the process take one turn of a number of calls."""
    self._process.stdin.write(f'{calls}\n')
    self._process.stdin.flush()
    turn = self._read()
    self.turns.append(turn.pop('seconds'))
    self.facts |= turn

  def end(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


def compare(jobs: list[Job], rounds: int, calls: int) -> dict:
  """Measures several sides in turns.

  Args:
    jobs: the sides; ours first.
    rounds: turns of each side.
    calls: number of calls in a turn.

  Returns:
    Name of a side -> its facts, seconds of all turns, images per second (from
    the median of the turns' medians), and, except for ours, the ratio of its
    time to ours, over the medians of each round.
  """
  sides = {}
  try:
    for job in jobs:
      print(f'{job.side}: starting', flush=True)
      sides[job.side] = Side(job)
    for index in range(rounds):
      for name, side in sides.items():
        side.take(calls)
        print(f'round {index + 1}: {name} {side.turns[-1]}', flush=True)
  finally:
    for side in sides.values():
      side.end()
  measured = {}
  ours = [statistics.median(turn) for turn in sides['ours'].turns]
  for name, side in sides.items():
    medians = [statistics.median(turn) for turn in side.turns]
    measured[name] = side.facts | {
      'seconds': side.turns,
      'images_per_second': jobs[0].batch / statistics.median(medians),
    }
    if name != 'ours':
      measured[name]['ours_is_times_faster'] = timing.ratios(medians, ours)
  return measured


if __name__ == '__main__':
  # At the level 'info', JAX reports every backend that it has looked for.
  logging.set_verbosity(logging.WARNING)
  work(Job(**json.loads(sys.argv[1])))
