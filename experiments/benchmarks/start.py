"""How long a command takes until it answers or trains.

python -m experiments.benchmarks.start

Measures help and rejected input until the command has ended, and the digits
run until its data are loaded and its first step is taken. The digits run
starts three times: with an empty cache of compiled programs, with the cache
of the run before, and resumed in the work directory of a stopped run. Results
go to experiments/results/benchmarks/start.json.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from experiments.benchmarks import result_files

_ROUNDS = flags.DEFINE_integer('rounds', 3, 'measurements of each')
_OUT = flags.DEFINE_string(
  'out', result_files.default('start'), 'the result file'
)

_COMMAND = (sys.executable, '-m', 'peeraid_jax.main')
_DIGITS = '--config=configs/digits.py'
ANSWERS = {
  'help': ('--help',),
  # Misspelt on purpose.
  'unknown field': (_DIGITS, '--config.attak.epsilon=0.1'),
  'value out of range': (_DIGITS, '--config.attack.epsilon=3'),
}


def answer(arguments) -> float:
  """Returns the seconds until the command has ended."""
  start = time.perf_counter()
  subprocess.run(
    [*_COMMAND, *arguments],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  return time.perf_counter() - start


def first_step(workdir, cache) -> dict[str, float]:
  """Starts the digits run, and stops it after its first step.

  Args:
    workdir: work directory of the run.
    cache: folder of compiled programs.

  Returns:
    Seconds until the data are loaded ('data') and the step is taken ('step').
  """
  start = time.perf_counter()
  process = subprocess.Popen(
    [
      *_COMMAND,
      _DIGITS,
      f'--workdir={workdir}',
      '--config.train.log_every_steps=1',
    ],
    env={
      **os.environ,
      'XDG_CACHE_HOME': str(cache),
      'PYTHONUNBUFFERED': '1',
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  seconds = {}
  for line in process.stdout:
    # A run prints this line when it has loaded its data.
    if 'work directory' in line:
      seconds.setdefault('data', time.perf_counter() - start)
    if line.startswith('step '):
      seconds['step'] = time.perf_counter() - start
      break
  process.send_signal(signal.SIGTERM)
  process.communicate()
  return seconds


def main(argv) -> None:
  """Measures everything in rounds and writes the result file."""
  del argv
  answers = {name: [] for name in ANSWERS}
  starts = {'nothing kept': [], 'programs kept': [], 'resumed': []}
  for _ in range(_ROUNDS.value):
    for name, arguments in ANSWERS.items():
      answers[name].append(answer(arguments))
    with tempfile.TemporaryDirectory() as folder:
      parent = pathlib.Path(folder)
      for name, workdir in (
        ('nothing kept', 'first'),
        ('programs kept', 'second'),
        ('resumed', 'second'),
      ):
        starts[name].append(first_step(parent / workdir, parent / 'cache'))
    print(answers, starts, flush=True)
  result_files.write(
    _OUT.value,
    {
      'what': 'seconds until a command answers, or takes its first step',
      'config': 'configs/digits.py',
      'answers': answers,
      'first_step': starts,
    },
  )


if __name__ == '__main__':
  app.run(main)
