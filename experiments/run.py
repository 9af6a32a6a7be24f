"""Runs experiments by name and files their results.

python -m experiments.run NAME [NAME ...] [--config.data.dir=DIR ...]

A name may end in `*`. A run that was cut off goes on; one whose result is
filed is left alone.
"""

import fnmatch
import pathlib
import shutil
import subprocess
import sys

from experiments import runs

RESULTS = pathlib.Path(__file__).parent / 'results'


def command(name: str, extra: list[str]) -> list[str]:
  """Returns the command line of a run."""
  config, overrides = runs.RUNS[name]
  return [
    sys.executable,
    '-m',
    'peeraid_jax.main',
    f'--config={config}',
    f'--workdir=runs/{name}',
    *[f'--config.{field}={value}' for field, value in overrides.items()],
    *extra,
  ]


def needs(name: str) -> list[str]:
  """Returns the runs whose networks teach in a run."""
  _, overrides = runs.RUNS[name]
  return [
    value.removeprefix('runs/')
    for field, value in overrides.items()
    if field.endswith('.workdir')
  ]


def _run(name: str, extra: list[str]) -> int:
  """Runs one experiment, and those it needs before it, if they are not there.

  Returns:
    The exit status of the first that failed, or 0.
  """
  for needed in needs(name):
    if not pathlib.Path(f'runs/{needed}/results.json').exists():
      code = _run(needed, extra)
      if code:
        return code
  code = subprocess.run(command(name, extra), check=False).returncode
  filed = RESULTS / f'{name}.json'
  if not code and not filed.exists():
    RESULTS.mkdir(exist_ok=True)
    shutil.copyfile(f'runs/{name}/results.json', filed)
  return code


def main(arguments: list[str]) -> int:
  """Runs what the arguments name; stops at the first failure."""
  extra = [a for a in arguments if a.startswith('--')]
  patterns = [a for a in arguments if not a.startswith('--')]
  names = [n for n in runs.RUNS if any(fnmatch.fnmatch(n, p) for p in patterns)]
  if not names:
    print(f'no such run; known: {", ".join(runs.RUNS)}', file=sys.stderr)
    return 2
  for name in names:
    filed = RESULTS / f'{name}.json'
    if filed.exists():
      print(f'{name}: {filed} is there')
      continue
    code = _run(name, extra)
    if code:
      return code
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
