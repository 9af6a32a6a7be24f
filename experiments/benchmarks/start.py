"""How long a command takes until it says something.

python -m experiments.benchmarks.start

Help and bad input, until the command has ended; the digits run, until its
data are found and until its first step is taken: with no compiled program
kept, with those of the run before, and when it goes on where it was stopped.
What was measured goes to experiments/results/benchmarks/start.json.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from experiments.benchmarks import filed

_ROUNDS = flags.DEFINE_integer('rounds', 3, 'of each')
_OUT = flags.DEFINE_string('out', filed.default('start'), 'the result')

_COMMAND = (sys.executable, '-m', 'peeraid_jax.main')
_DIGITS = '--config=configs/digits.py'
ANSWERS = {
  'help': ('--help',),
  'unknown field': (_DIGITS, '--config.attak.epsilon=0.1'),
  'value out of range': (_DIGITS, '--config.attack.epsilon=3'),
}


def answer(arguments) -> float:
  """Returns seconds until the command has ended."""
  begun = time.perf_counter()
  subprocess.run(
    [*_COMMAND, *arguments],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  return time.perf_counter() - begun


def first_step(workdir, cache) -> dict[str, float]:
  """Returns seconds until data are found and a step is taken; then stops."""
  begun = time.perf_counter()
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
  found = {}
  for line in process.stdout:
    if 'work directory' in line:
      found.setdefault('data', time.perf_counter() - begun)
    if line.startswith('step '):
      found['step'] = time.perf_counter() - begun
      break
  process.send_signal(signal.SIGTERM)
  process.communicate()
  return found


def main(argv) -> None:
  """Measures, prints and files."""
  del argv
  answers = {name: [] for name in ANSWERS}
  starts = {'nothing kept': [], 'programs kept': [], 'resumed': []}
  for _ in range(_ROUNDS.value):
    for name, arguments in ANSWERS.items():
      answers[name].append(answer(arguments))
    with tempfile.TemporaryDirectory() as folder:
      where = pathlib.Path(folder)
      for name, workdir in (
        ('nothing kept', 'first'),
        ('programs kept', 'second'),
        ('resumed', 'second'),
      ):
        starts[name].append(first_step(where / workdir, where / 'cache'))
    print(answers, starts, flush=True)
  filed.write(
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
