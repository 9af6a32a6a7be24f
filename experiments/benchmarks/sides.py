"""Sides of a comparison: processes that take PeerAiD's step, in turns.

Each side is a process of its own that takes steps when it is told to, one
process at a time: A B C A B C.
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

from experiments.benchmarks import levers


@dataclasses.dataclass(frozen=True)
class Job:
  """One side of a comparison.

  Attributes:
    side: 'ours', a lever of `levers`, or a variant of `torch_step`.
    network, width: the network; a WideResNet has its own width.
    batch: images of a step.
    dtype: of the networks' computation.
    attack_steps: of PGD.
    devices: GPUs, or virtual ones of a CPU; 0 takes as many as a run would.
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


def _ours(job: Job):
  """Returns (take a step, what is known before)."""
  import jax

  from experiments.benchmarks import programs
  from peeraid_jax import parallel

  # As a run does.
  parallel.use_cores((job.batch,), 32 * 32)
  lever = levers.LEVERS.get(job.side, levers.NONE)
  made, (state, *rest) = lever.apply(*programs.concrete(config(job)))
  begun = time.perf_counter()
  with lever.tracing():
    lowered = made.lower(state, *rest)
  traced = time.perf_counter()
  compiled = lowered.compile()
  ended = time.perf_counter()
  known = {
    'devices': jax.device_count(),
    'trace_seconds': traced - begun,
    'compile_seconds': ended - traced,
    'temporary_bytes': compiled.memory_analysis().temp_size_in_bytes,
    'flags': os.environ.get('XLA_FLAGS', ''),
    'steps_per_call': lever.steps,
  }
  kept = [state]

  def take():
    kept[0], values = compiled(kept[0], *rest)
    jax.block_until_ready(values)
    return float(values['loss'])

  return take, known


def _theirs(job: Job):
  """As `_ours`, in PyTorch."""
  import torch

  from experiments.benchmarks import torch_step

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  torch.manual_seed(0)
  torch.backends.cudnn.benchmark = True
  variant = torch_step.VARIANTS[job.side]
  student, peer = (
    torch_step.network(job.network, job.width).to(device) for _ in range(2)
  )
  made = torch_step.Step(
    student,
    peer,
    variant,
    bfloat16=job.dtype == 'bfloat16',
    steps=job.attack_steps,
  )
  images = torch.rand((job.batch, 3, 32, 32), device=device)
  labels = torch.randint(10, (job.batch,), device=device)
  known = {
    'threads': torch.get_num_threads(),
    'tf32': torch.backends.cudnn.allow_tf32,
    'torch': torch.__version__,
    **dataclasses.asdict(variant),
  }
  return lambda: float(made(images, labels)), known


def _memory() -> int:
  """Returns the most bytes that this process has held on its device."""
  jax, torch = (sys.modules.get(name) for name in ('jax', 'torch'))
  if jax is not None and jax.default_backend() != 'cpu':
    return jax.local_devices()[0].memory_stats()['peak_bytes_in_use']
  if torch is not None and torch.cuda.is_available():
    return torch.cuda.max_memory_allocated()
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def work(job: Job) -> None:
  """Takes as many calls as each line says; prints seconds of a step of each.

  One more before them is not timed: it wakes what has slept while the others
  had their turns.
  """

  ours = job.side == 'ours' or job.side in levers.LEVERS
  take, known = (_ours if ours else _theirs)(job)
  each = known.get('steps_per_call', 1)
  begun = time.perf_counter()
  take()
  known['first_step_seconds'] = time.perf_counter() - begun
  take()
  print(json.dumps(known), flush=True)
  for line in sys.stdin:
    take()
    seconds = []
    for _ in range(int(line)):
      begun = time.perf_counter()
      loss = take()
      seconds.append((time.perf_counter() - begun) / each)
    told = {'seconds': seconds, 'loss': loss, 'peak_bytes': _memory()}
    print(json.dumps(told), flush=True)


class Side:
  """A process that takes steps when it is told to."""

  def __init__(self, job: Job):

    environment = dict(os.environ)
    if job.devices:
      environment['JAX_NUM_CPU_DEVICES'] = str(job.devices)
      environment['CUDA_VISIBLE_DEVICES'] = ','.join(
        str(n) for n in range(job.devices)
      )
    # Compiled anew; and the others' processes need their part of a GPU.
    environment['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
    environment['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
    given = levers.LEVERS.get(job.side, levers.NONE).flags
    if given:
      before = environment.get('XLA_FLAGS', '')
      environment['XLA_FLAGS'] = f'{before} {given}'.strip()
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
    self.known = self._read()
    self.turns: list[list[float]] = []

  def _read(self) -> dict:
    for line in self._process.stdout:
      if line.startswith('{'):
        return json.loads(line)
    raise RuntimeError(f'a side ended: exit {self._process.wait()}')

  def take(self, steps: int) -> None:
    """Has it take a turn."""
    self._process.stdin.write(f'{steps}\n')
    self._process.stdin.flush()
    told = self._read()
    self.turns.append(told.pop('seconds'))
    self.known |= told

  def end(self) -> None:
    """Ends the process."""
    self._process.stdin.close()
    self._process.wait()


def compare(jobs: list[Job], rounds: int, steps: int) -> dict:
  """Returns what each side is, its seconds, and how much faster ours is.

  Args:
    jobs: ours first.
    rounds: turns of each side.
    steps: of a turn; the median of all is a side's, the ratios are those of
      the medians of each round.
  """
  sides = {}
  try:
    for job in jobs:
      print(f'{job.side}: starting', flush=True)
      sides[job.side] = Side(job)
    for index in range(rounds):
      for name, side in sides.items():
        side.take(steps)
        print(f'round {index + 1}: {name} {side.turns[-1]}', flush=True)
  finally:
    for side in sides.values():
      side.end()
  found = {}
  ours = [statistics.median(turn) for turn in sides['ours'].turns]
  for name, side in sides.items():
    medians = [statistics.median(turn) for turn in side.turns]
    found[name] = side.known | {
      'seconds': side.turns,
      'images_per_second': jobs[0].batch / statistics.median(medians),
    }
    if name != 'ours':
      ratios = [t / o for t, o in zip(medians, ours, strict=True)]
      found[name]['ours_is_times_faster'] = {
        'median': statistics.median(ratios),
        'min': min(ratios),
        'max': max(ratios),
      }
  return found


def matrix_rate(dtype: str) -> float:
  """Returns FLOP/s of large matrix products on this device: what is full."""
  import jax
  import jax.numpy as jnp

  on_cpu = jax.default_backend() == 'cpu'
  size = 2048 if on_cpu else 8192
  a = jnp.ones((size, size), dtype)
  product = jax.jit(lambda a: a @ a)
  product(a).block_until_ready()
  best = float('inf')
  for _ in range(10):
    begun = time.perf_counter()
    product(a).block_until_ready()
    best = min(best, time.perf_counter() - begun)
  return 2 * size**3 / best


def device() -> str:
  """Returns the kind of device that this machine has."""
  import jax

  return jax.devices()[0].device_kind


def on_gpu() -> bool:
  """Says whether JAX computes on a GPU."""
  import jax

  return jax.default_backend() == 'gpu'


if __name__ == '__main__':
  # JAX tells of the backends that it has tried.
  logging.set_verbosity(logging.WARNING)
  work(Job(**json.loads(sys.argv[1])))
