"""PeerAiD's step: ours, and PyTorch's, in turns on the same machine.

python -m experiments.benchmarks.step [--settings=resnet18:64:128:float32,...]
python -m experiments.benchmarks.step --growth

A setting is network:width:batch:dtype. Each side is a process of its own that
takes steps when it is told to, one process at a time: A B C A B C. Without
PyTorch ours is measured alone. --growth measures ours as the batch, the steps
of the attack, the width and the devices grow. What was measured goes to
experiments/results/benchmarks/step.json or growth.json, an entry per setting
and device; one that is there is measured anew.
"""

import dataclasses
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags, logging

from experiments.benchmarks import filed

_SETTINGS = flags.DEFINE_list(
  'settings',
  ['resnet18:16:128:float32', 'resnet18:64:128:float32'],
  'network:width:batch:dtype',
)
_TORCH = flags.DEFINE_list(
  'torch', ['eager', 'channels_last', 'compile'], 'variants of torch_step.py'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'turns of each side')
_STEPS = flags.DEFINE_integer('steps', 2, 'steps of a turn')
_GROWTH = flags.DEFINE_bool('growth', False, 'ours alone, along four axes')
_WORKER = flags.DEFINE_string('worker', '', 'internal')
_OUT = flags.DEFINE_string('out', '', 'the result')


@dataclasses.dataclass(frozen=True)
class Job:
  """One side of a comparison.

  Attributes:
    side: 'ours', or a variant of `torch_step`.
    network, width: the network; a WideResNet has its own width.
    batch: images of a step.
    dtype: of the networks' computation.
    attack_steps: of PGD.
    devices: virtual ones on a CPU; 0 takes as many as a run would.
  """

  side: str
  network: str
  width: int
  batch: int
  dtype: str = 'float32'
  attack_steps: int = 10
  devices: int = 0


def _config(job: Job):
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
  made, (state, *rest) = programs.concrete(_config(job))
  begun = time.perf_counter()
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
  """Takes as many steps as each line says; prints seconds of each.

  One more before them is not timed: it wakes what has slept while the others
  had their turns.
  """
  take, known = (_ours if job.side == 'ours' else _theirs)(job)
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
      seconds.append(time.perf_counter() - begun)
    told = {'seconds': seconds, 'loss': loss, 'peak_bytes': _memory()}
    print(json.dumps(told), flush=True)


class Side:
  """A process that takes steps when it is told to."""

  def __init__(self, job: Job):
    environment = dict(os.environ)
    if job.devices:
      environment['JAX_NUM_CPU_DEVICES'] = str(job.devices)
    # Compiled anew; and PyTorch's process needs its part of a GPU.
    environment['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
    environment.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', '0.5')
    self._process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'experiments.benchmarks.step',
        f'--worker={json.dumps(dataclasses.asdict(job))}',
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


def _device() -> str:
  import jax

  return jax.devices()[0].device_kind


def measure_settings() -> None:
  """Compares ours with PyTorch's at each setting, and files it."""
  from experiments.benchmarks import programs

  there = importlib.util.find_spec('torch') is not None
  out = _OUT.value or filed.default('step')
  for setting in _SETTINGS.value:
    network, width, batch, dtype = setting.split(':')
    jobs = [
      Job(side, network, int(width), int(batch), dtype)
      for side in ('ours', *(_TORCH.value if there else ()))
    ]
    sides = compare(jobs, _ROUNDS.value, _STEPS.value)
    work_of_one = programs.flops_per_image(_config(jobs[0]))
    rate = matrix_rate(dtype)
    # One GPU; or a CPU's virtual devices, which are all of its cores.
    for side in sides.values():
      # PyTorch's is counted as ours, though eager passes some images twice.
      done = side['images_per_second'] * work_of_one
      side['share_of_matrix_rate'] = done / rate
    filed.add(
      out,
      "PeerAiD's step on 32x32 images, ours and PyTorch's in turns",
      f'{setting} on {_device()}',
      {
        'network': network,
        'width': int(width),
        'batch_size': int(batch),
        'dtype': dtype,
        'flops_per_image': work_of_one,
        'matrix_flops_per_second': rate,
        'rounds': _ROUNDS.value,
        'steps_per_round': _STEPS.value,
        'sides': sides,
      },
    )


_BASE = Job('ours', 'resnet18', 16, 64)
_AXES = {
  'batch': (16, 32, 64, 128, 256),
  'attack_steps': (1, 5, 10, 20),
  'width': (8, 16, 32, 64),
  'devices': (1, 2),
}


def measure_growth() -> None:
  """Measures ours along each axis, the points of one in turns; files it."""
  out = _OUT.value or filed.default('growth')
  for axis, values in _AXES.items():
    sides = {}
    for value in values:
      sides[value] = Side(dataclasses.replace(_BASE, **{axis: value}))
    for _ in range(_ROUNDS.value):
      for side in sides.values():
        side.take(_STEPS.value)
    points = {}
    for value, side in sides.items():
      side.end()
      batch = value if axis == 'batch' else _BASE.batch
      median = statistics.median(s for turn in side.turns for s in turn)
      points[str(value)] = side.known | {
        'seconds': side.turns,
        'images_per_second': batch / median,
      }
      print(axis, value, f'{batch / median:.1f} images/s', flush=True)
    filed.add(
      out,
      "PeerAiD's step as one thing grows, the others as in `base`",
      f'{axis} on {_device()}',
      {'axis': axis, 'base': dataclasses.asdict(_BASE), 'points': points},
    )


def main(argv) -> None:
  """Measures what the flags say."""
  del argv
  # JAX tells of the backends that it has tried.
  logging.set_verbosity(logging.WARNING)
  if _WORKER.value:
    work(Job(**json.loads(_WORKER.value)))
  elif _GROWTH.value:
    measure_growth()
  else:
    measure_settings()


if __name__ == '__main__':
  app.run(main)
