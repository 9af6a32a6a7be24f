"""Runs experiments by name and files their results.

python -m experiments.run NAME [NAME ...] [--config.data.dir=DIR ...]
python -m experiments.run --autoattack NAME [NAME ...] [...]

A name may end in `*`. A run that was cut off goes on; one whose result is
filed is left alone. With --autoattack, the networks of filed runs, which are
still in their work directories, are evaluated with AutoAttack, and the results
filed again.
"""

import fnmatch
import json
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


def autoattack_flags(name: str) -> list[str]:
  """Returns the flags that evaluate a run with AutoAttack; none if unlisted."""
  for pattern, overrides in runs.AUTOATTACK.items():
    if fnmatch.fnmatch(name, pattern):
      return [
        '--mode=evaluate',
        "--config.eval.attacks=('autoattack',)",
        *[f'--config.{field}={value}' for field, value in overrides.items()],
      ]
  return []


def _autoattack(name: str, extra: list[str]) -> int:
  """Evaluates a run with AutoAttack and files the result; as `_run`."""
  filed, made = RESULTS / f'{name}.json', pathlib.Path(f'runs/{name}')
  flags = autoattack_flags(name)
  if not flags or not filed.exists():
    print(f'{name}: not listed in AUTOATTACK, or no result is filed')
    return 0
  if json.loads(filed.read_text()).get('autoattack'):
    print(f'{name}: AutoAttack is there')
    return 0
  if not (made / 'results.json').exists():
    print(f'{name}: its networks are gone; there is no {made}')
    return 1
  code = subprocess.run(command(name, [*flags, *extra]), check=False).returncode
  if not code:
    shutil.copyfile(made / 'results.json', filed)
  return code


def main(arguments: list[str]) -> int:
  """Runs what the arguments name; stops at the first failure."""
  extra = [a for a in arguments if a.startswith('--')]
  work = _run
  if '--autoattack' in extra:
    extra.remove('--autoattack')
    work = _autoattack
  patterns = [a for a in arguments if not a.startswith('--')]
  names = [n for n in runs.RUNS if any(fnmatch.fnmatch(n, p) for p in patterns)]
  if not names:
    print(f'no such run; known: {", ".join(runs.RUNS)}', file=sys.stderr)
    return 2
  for name in names:
    filed = RESULTS / f'{name}.json'
    if work is _run and filed.exists():
      print(f'{name}: {filed} is there')
      continue
    code = work(name, extra)
    if code:
      return code
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
