"""Runs experiments by name and files their results.

python -m experiments.run NAME [NAME ...] [--config.data.dir=DIR ...]
python -m experiments.run --autoattack NAME [NAME ...] [...]

NAME is a key of `runs.RUNS`, or a pattern with `*`. An interrupted run resumes.
A run whose result is in experiments/results is skipped. With --autoattack, the
networks of finished runs are evaluated with AutoAttack, and their result files
replaced; this needs the work directories of the runs (runs/NAME).
"""

import fnmatch
import pathlib
import shutil
import subprocess
import sys

from experiments import runs
from peeraid_jax import files

RESULTS = pathlib.Path(__file__).parent / 'results'


def command(name: str, extra: list[str]) -> list[str]:
  """Returns the command line of a run; `extra` replaces flags of the run."""
  config, overrides = runs.RUNS[name]
  replaced = {flag.partition('=')[0] for flag in extra}
  flags = [f'--config.{field}={value}' for field, value in overrides.items()]
  return [
    sys.executable,
    '-m',
    'peeraid_jax.main',
    f'--config={config}',
    f'--workdir=runs/{name}',
    *[flag for flag in flags if flag.partition('=')[0] not in replaced],
    *extra,
  ]


def needs(name: str) -> list[str]:
  """Returns the runs whose networks are teachers in a run."""
  _, overrides = runs.RUNS[name]
  return [
    value.removeprefix('runs/')
    for field, value in overrides.items()
    if field.endswith('.workdir')
  ]


def _run(name: str, extra: list[str]) -> int:
  """Runs one experiment, and before it the runs of its teachers if missing.

  Returns:
    The exit status of the first command that failed, or 0.
  """
  for teacher in needs(name):
    if not pathlib.Path(f'runs/{teacher}/results.json').exists():
      code = _run(teacher, extra)
      if code:
        return code
  code = subprocess.run(command(name, extra), check=False).returncode
  result = RESULTS / f'{name}.json'
  if not code and not result.exists():
    RESULTS.mkdir(exist_ok=True)
    shutil.copyfile(f'runs/{name}/results.json', result)
  return code


def autoattack_flags(name: str) -> list[str]:
  """Returns flags to evaluate a run with AutoAttack.

  They are empty if no pattern of `runs.AUTOATTACK` matches the name.
  """
  for pattern, overrides in runs.AUTOATTACK.items():
    if fnmatch.fnmatch(name, pattern):
      return [
        '--mode=evaluate',
        "--config.eval.attacks=('autoattack',)",
        *[f'--config.{field}={value}' for field, value in overrides.items()],
      ]
  return []


def _autoattack(name: str, extra: list[str]) -> int:
  """Evaluates a run with AutoAttack and replaces its result file.

  Returns:
    The exit status of the command; 0 if there is nothing to do, 1 if the work
    directory is gone.
  """
  result, workdir = RESULTS / f'{name}.json', pathlib.Path(f'runs/{name}')
  flags = autoattack_flags(name)
  if not flags or not result.exists():
    print(f'{name}: skipped; not in runs.AUTOATTACK, or {result} is missing')
    return 0
  if files.read_json(result).get('autoattack'):
    print(f'{name}: skipped; {result} contains AutoAttack already')
    return 0
  if not (workdir / 'results.json').exists():
    print(f'{name}: {workdir} is missing; its networks cannot be evaluated')
    return 1
  code = subprocess.run(command(name, [*flags, *extra]), check=False).returncode
  if not code:
    shutil.copyfile(workdir / 'results.json', result)
  return code


def main(arguments: list[str]) -> int:
  """Runs the named experiments; stops at the first failure.

  Returns:
    The exit status: 0, that of the command that failed, or 2 if no run has
    such a name.
  """
  extra = [a for a in arguments if a.startswith('--')]
  work = _run
  if '--autoattack' in extra:
    extra.remove('--autoattack')
    work = _autoattack
  patterns = [a for a in arguments if not a.startswith('--')]
  names = [n for n in runs.RUNS if any(fnmatch.fnmatch(n, p) for p in patterns)]
  if not names:
    print(
      f'no run is named {", ".join(patterns) or "(none given)"}; known: '
      f'{", ".join(runs.RUNS)}',
      file=sys.stderr,
    )
    return 2
  for name in names:
    result = RESULTS / f'{name}.json'
    if work is _run and result.exists():
      print(f'{name}: skipped; {result} exists')
      continue
    code = work(name, extra)
    if code:
      return code
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
