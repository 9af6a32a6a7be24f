"""The cost of a second process: PeerAiD's step in one process and in two.

python -m experiments.benchmarks.processes

Every process has one core of this machine and 64 images of a step. Three cases
are measured in turns: one process alone; two independent processes, which
shows what the cores take from each other; two processes of one run, which
exchange gradients and batch statistics by all-reduce (gloo, 127.0.0.1). Results
go to experiments/results/benchmarks/processes.json.
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

from experiments.benchmarks import result_files, timing

_ROUNDS = flags.DEFINE_integer('rounds', 3, 'measurements of each case')
_STEPS = flags.DEFINE_integer('steps', 6, 'timed steps of a measurement')
_WORKER = flags.DEFINE_string('worker', '', 'internal: PORT,COUNT,INDEX,CORE')
_OUT = flags.DEFINE_string(
  'out', result_files.default('processes'), 'the result file'
)

IMAGES_PER_PROCESS = 64
WIDTH = 16
_WARM_UP = 2  # first steps, which compile


def work(port: str, count: int, index: int, core: int) -> None:
  """Takes steps as one of several processes; prints the seconds of each.

  Args:
    port: network port of the process that coordinates.
    count: processes of the run; 1 for an independent one.
    index: number of this process, from 0.
    core: the CPU core that it may use.
  """
  os.sched_setaffinity(0, {core})
  if count > 1:
    jax.distributed.initialize(f'127.0.0.1:{port}', count, index)
  from experiments.benchmarks import programs

  config = programs.config('resnet18', WIDTH)
  config.train.batch_size = IMAGES_PER_PROCESS * count
  step, (state, *rest) = programs.concrete(config)
  seconds = []
  for _ in range(_STEPS.value + _WARM_UP):
    start = time.perf_counter()
    state, values = step(state, *rest)
    jax.block_until_ready(values)
    seconds.append(time.perf_counter() - start)
  print(json.dumps(seconds[_WARM_UP:]), flush=True)


def measure(processes: int, *, together: bool) -> list[float]:
  """Returns the seconds of each step in the first process.

  Args:
    processes: how many run at the same time.
    together: they are one run, instead of independent ones.
  """
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  workers = [
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
  outputs = [worker.communicate()[0] for worker in workers]
  return json.loads(outputs[0].strip().splitlines()[-1])


def main(argv) -> None:
  """Measures the three cases in turns; or runs a worker."""
  del argv
  if _WORKER.value:
    port, *numbers = _WORKER.value.split(',')
    work(port, *map(int, numbers))
    return
  cases = {
    'one': (1, False),
    'two_apart': (2, False),
    'two_together': (2, True),
  }
  seconds = {name: [] for name in cases}
  for _ in range(_ROUNDS.value):
    for name, (count, together) in cases.items():
      seconds[name].append(measure(count, together=together))
  medians = {
    name: [statistics.median(steps) for steps in rounds]
    for name, rounds in seconds.items()
  }
  measured = {
    'seconds_per_step': seconds,
    'two_apart_over_one': timing.ratios(medians['two_apart'], medians['one']),
    'two_together_over_two_apart': timing.ratios(
      medians['two_together'], medians['two_apart']
    ),
  }
  print(measured)
  result_files.write(
    _OUT.value,
    {
      'what': "PeerAiD's step by one process, and by two with twice the images",
      'network': f'resnet18 of width {WIDTH}, PGD-10, 32x32',
      'images_per_process': IMAGES_PER_PROCESS,
      'cores_per_process': 1,
      'measured': measured,
    },
  )


if __name__ == '__main__':
  app.run(main)
