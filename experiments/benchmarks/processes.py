"""What a second process costs: PeerAiD's step by one and by two.

python -m experiments.benchmarks.processes

Each process has one core of this machine and 64 images of a step. One alone;
two that know nothing of each other, which shows what the cores take from each
other; and two that are one run, and meet in all-reduces (gloo, 127.0.0.1). In
turns; what was measured goes to experiments/results/benchmarks/processes.json.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import jax
from absl import app, flags

from experiments.benchmarks import filed

_ROUNDS = flags.DEFINE_integer('rounds', 3, 'pairs of measurements')
_STEPS = flags.DEFINE_integer('steps', 6, 'timed in each')
_WORKER = flags.DEFINE_string('worker', '', 'internal: PORT,COUNT,INDEX,CORE')
_OUT = flags.DEFINE_string('out', filed.default('processes'), 'the result')

EACH = 64
WIDTH = 16


def work(port: str, count: int, index: int, core: int) -> None:
  """Takes steps as one of `count` processes; prints seconds of each."""
  os.sched_setaffinity(0, {core})
  if count > 1:
    jax.distributed.initialize(f'127.0.0.1:{port}', count, index)
  from experiments.benchmarks import programs

  config = programs.config('resnet18', WIDTH)
  config.train.batch_size = EACH * count
  take, (state, *rest) = programs.concrete(config)
  seconds = []
  for _ in range(_STEPS.value + 2):
    begun = time.perf_counter()
    state, values = take(state, *rest)
    jax.block_until_ready(values)
    seconds.append(time.perf_counter() - begun)
  # The first ones compile and warm up.
  print(json.dumps(seconds[2:]), flush=True)


def measure(processes: int, *, together: bool) -> list[float]:
  """Returns seconds of the steps of one of several processes."""
  with socket.socket() as made:
    made.bind(('127.0.0.1', 0))
    port = made.getsockname()[1]
  started = [
    subprocess.Popen(
      [
        sys.executable,
        '-m',
        'experiments.benchmarks.processes',
        f'--worker={port},{processes},{core},{core}'
        if together
        else f'--worker={port},1,0,{core}',
        f'--steps={_STEPS.value}',
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    for core in range(processes)
  ]
  printed = [process.communicate()[0] for process in started]
  return json.loads(printed[0].strip().splitlines()[-1])


def main(argv) -> None:
  """Measures one and two processes in turns."""
  del argv
  if _WORKER.value:
    port, *numbers = _WORKER.value.split(',')
    work(port, *map(int, numbers))
    return
  kinds = {
    'one': (1, False),
    'two_apart': (2, False),
    'two_together': (2, True),
  }
  seconds = {name: [] for name in kinds}
  for _ in range(_ROUNDS.value):
    for name, (count, together) in kinds.items():
      seconds[name].append(measure(count, together=together))

  def ratios(above: str, below: str) -> dict[str, float]:
    found = [
      statistics.median(a) / statistics.median(b)
      for a, b in zip(seconds[above], seconds[below], strict=True)
    ]
    return {
      'median': statistics.median(found),
      'min': min(found),
      'max': max(found),
    }

  measured = {
    'seconds_per_step': seconds,
    'two_apart_over_one': ratios('two_apart', 'one'),
    'two_together_over_two_apart': ratios('two_together', 'two_apart'),
  }
  print(measured)
  filed.write(
    _OUT.value,
    {
      'what': "PeerAiD's step by one process, and by two with twice the images",
      'network': f'resnet18 of width {WIDTH}, PGD-10, 32x32',
      'images_per_process': EACH,
      'cores_per_process': 1,
      'measured': measured,
    },
  )


if __name__ == '__main__':
  app.run(main)
