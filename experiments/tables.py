"""Makes the tables of the README from `experiments/results/*.json`.

python -m experiments.tables         prints them
python -m experiments.tables README.md  writes them between its markers
"""

import collections
import json
import pathlib
import re
import statistics
import sys

from experiments import run, runs

ATTACKS = ('clean', 'fgsm', 'pgd20', 'cw30')
HEADS = ('clean', 'FGSM', 'PGD-20', 'CW-30')
ROLES = {'student': 'student', 'student_swa': 'SWA student', 'peer': 'peer'}
BEGIN = '<!-- tables: begin -->'
END = '<!-- tables: end -->'


def _groups() -> dict[str, list[dict]]:
  """Returns experiment -> its results, the seeds of one run together."""
  groups = collections.defaultdict(list)
  for path in sorted(run.RESULTS.glob('*.json')):
    name = re.sub(r'_seed\d+$', '', path.stem)
    groups[name].append(json.loads(path.read_text()))
  return groups


def _cell(values: list[float]) -> str:
  """Mean in per cent; with several seeds, and standard deviation."""
  mean = f'{100 * statistics.mean(values):.1f}'
  if len(values) == 1:
    return mean
  return f'{mean} ± {100 * statistics.stdev(values):.1f}'


def _row(label: str, cells: list[str]) -> str:
  return f'| {" | ".join([label, *cells])} |'


def _strong(result: dict, role: str) -> dict | None:
  """Returns the report of AutoAttack on a role, if there is one."""
  return result.get('autoattack', {}).get(role, {}).get('autoattack')


def table(
  names: dict[str, str], groups: dict[str, list[dict]], roles=tuple(ROLES)
) -> str:
  """Returns one Markdown table of the named experiments.

  Args:
    names: experiment -> label, of one data set and budget.
    groups: as of `_groups`.
    roles: whose accuracies are shown.
  """
  lines = [
    _row(
      'method, network', [*HEADS, 'AutoAttack', 'tutor on student-attacked']
    ),
    _row('---', ['---:'] * (len(HEADS) + 2)),
  ]
  attacked: set[int] = set()
  most = max(len(groups[name]) for name in names)
  for name, label in names.items():
    found = groups[name]
    if len(found) < most:
      label += f' ({len(found)} of {most} seeds)'
    for role in roles:
      if role not in found[0]['roles']:
        continue
      cells = [
        _cell([f['roles'][role][a]['accuracy'] for f in found]) for a in ATTACKS
      ]
      reports = [_strong(f, role) for f in found]
      known = None not in reports
      cells.append(
        _cell([r['robust_accuracy'] for r in reports]) if known else ''
      )
      attacked |= {r['n'] for r in reports if r}
      shown = ''
      for tutor in ('peer', 'teacher'):
        transfer = f'{tutor}_on_student_pgd20'
        if role == 'student' and transfer in found[0]['transfer']:
          shown = _cell([f['transfer'][transfer]['accuracy'] for f in found])
      lines.append(_row(f'{label}, {ROLES[role]}', [*cells, shown]))
  first = groups[next(iter(names))][0]
  seeds = sorted({f['seed'] for n in names for f in groups[n]})
  counts = {
    f['roles']['student']['clean']['n'] for n in names for f in groups[n]
  }
  commits = {f['commit'][:12] for n in names for f in groups[n]}
  epsilon = first['config']['attack']['epsilon']
  lines.append('')
  counted = f'{", ".join(map(str, sorted(counts)))} test images'
  if attacked:
    counted += f', AutoAttack on {", ".join(map(str, sorted(attacked)))}'
  lines.append(
    f'Accuracy in % on {counted}; '
    f'epsilon {epsilon * 255:.1f}/255; seeds '
    f'{", ".join(map(str, seeds))}; {first["config"]["train"]["epochs"]} '
    f'epochs; checkpoints chosen on a {first["selection"]["on"]} set; '
    f'{first["device"]}; commit {", ".join(sorted(commits))}.'
  )
  return '\n'.join(lines)


def curve(name: str, groups: dict[str, list[dict]]) -> str:
  """Returns how a peer specialises, as Markdown: over epochs, selection set.

  Args:
    name: an experiment with a peer.
    groups: as of `_groups`.
  """
  found = groups[name][0]
  attack = found['selection']['attack']
  columns = {
    'student clean': 'select/student/clean',
    f'student {attack}': f'select/student/{attack}',
    'peer clean': 'select/peer/clean',
    f'peer on student-attacked {attack}': f'select/peer_on_student_{attack}',
  }
  lines = [
    _row('epoch', [*columns]),
    _row('---:', ['---:'] * len(columns)),
  ]
  for record in found['history']:
    cells = [_cell([record[c]]) for c in columns.values()]
    lines.append(_row(str(record['epoch']), cells))
  return '\n'.join(lines)


# Experiments whose peer is followed over the epochs.
CURVES = ('cifar10_narrow_peeraid',)

# Title -> (experiments and their labels, roles).
TABLES = {
  '**Digits** (`configs/digits.py`, ResNet-18 of width 16; AGKD-BML a '
  'WideResNet-28 of about as many parameters): mean and standard deviation '
  'over seeds': (
    {f'digits_{m}': m for m in runs.METHODS},
    ('student', 'peer'),
  ),
  '**Digits at a fifth of that learning rate** (0.02), for the methods that it '
  'was too high for': (
    {f'digits_{m}_lr02': m for m in runs.LOW_RATE},
    ('student',),
  ),
  "**LTD's teacher temperature**, on digits": (
    {
      'digits_ltd_t1': 'ltd, T = 1',
      'digits_ltd_t2': 'ltd, T = 2',
      'digits_ltd': 'ltd, T = 5',
      'digits_ltd_t10': 'ltd, T = 10',
    },
    ('student',),
  ),
  '**CIFAR-10, narrow**: real CIFAR-10, 5,000 training images, ResNet-18 of '
  'width 16, one optimizer and budget for all': (
    {f'cifar10_narrow_{m}': m for m in runs.METHODS},
    tuple(ROLES),
  ),
  '**TinyImageNet, narrow**: the flagship command as small as it gets (300 '
  'steps, 4,000 images, width 8), stopped and resumed; it shows that the path '
  'works, not what PeerAiD reaches': (
    {'tinyimagenet_narrow_peeraid': 'peeraid'},
    tuple(ROLES),
  ),
}


def tables() -> str:
  """Returns all tables as Markdown."""
  groups = _groups()
  parts = []
  for title, (names, roles) in TABLES.items():
    there = {n: label for n, label in names.items() if n in groups}
    if there:
      parts.append(f'{title}.\n\n{table(there, groups, roles)}')
    for name in there:
      if name in CURVES:
        parts.append(
          'How the peer specialises there, on the held-out validation images:'
          f'\n\n{curve(name, groups)}'
        )
  return '\n\n'.join(parts)


def between(text: str, content: str) -> str:
  """Returns a text with `content` between its markers."""
  head, _, rest = text.partition(BEGIN)
  tail = rest.partition(END)[2]
  return f'{head}{BEGIN}\n{content}\n{END}{tail}'


def main(arguments: list[str]) -> None:
  """Prints the tables, or writes them into the named file."""
  if not arguments:
    print(tables())
    return
  path = pathlib.Path(arguments[0])
  path.write_text(between(path.read_text(), tables()))


if __name__ == '__main__':
  main(sys.argv[1:])
