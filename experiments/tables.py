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

from experiments import run

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


def table(names: list[str], groups: dict[str, list[dict]]) -> str:
  """Returns one Markdown table of the named experiments.

  Args:
    names: experiments of one data set and budget.
    groups: as of `_groups`.
  """
  lines = [
    _row('method, network', [*HEADS, 'on student-attacked (PGD-20)']),
    _row('---', ['---:'] * (len(HEADS) + 1)),
  ]
  for name in names:
    found = groups[name]
    method = found[0]['config']['method']['name']
    for role, label in ROLES.items():
      if role not in found[0]['roles']:
        continue
      cells = [
        _cell([f['roles'][role][a]['accuracy'] for f in found]) for a in ATTACKS
      ]
      shown = ''
      if role == 'peer':
        shown = _cell(
          [f['transfer']['peer_on_student_pgd20']['accuracy'] for f in found]
        )
      lines.append(_row(f'{method}, {label}', [*cells, shown]))
  first = groups[names[0]][0]
  seeds = sorted({f['seed'] for n in names for f in groups[n]})
  counts = {
    f['roles']['student']['clean']['n'] for n in names for f in groups[n]
  }
  commits = {f['commit'][:12] for n in names for f in groups[n]}
  epsilon = first['config']['attack']['epsilon']
  lines.append('')
  lines.append(
    f'Accuracy in % on {", ".join(map(str, sorted(counts)))} test images, '
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

TITLES = {
  'digits': (
    '**Digits** (`configs/digits.py`, ResNet-18 of width 16): mean and '
    'standard deviation over seeds'
  ),
  'cifar10_narrow': (
    '**CIFAR-10, narrow**: real CIFAR-10, 5,000 training images, ResNet-18 '
    'of width 16'
  ),
  'tinyimagenet_narrow': (
    '**TinyImageNet, narrow**: the flagship command as small as it gets (300 '
    'steps, 4,000 images, width 8), stopped and resumed; it shows that the '
    'path works, not what PeerAiD reaches'
  ),
}


def tables() -> str:
  """Returns all tables as Markdown."""
  groups = _groups()
  parts = []
  for prefix, title in TITLES.items():
    names = [n for n in groups if n.startswith(prefix + '_')]
    order = ('natural', 'pgd_at', 'peeraid')
    names.sort(key=lambda n: order.index(n.removeprefix(prefix + '_')))
    if names:
      parts.append(f'{title}.\n\n{table(names, groups)}')
    if f'{prefix}_peeraid' in CURVES and f'{prefix}_peeraid' in groups:
      parts.append(
        'How the peer specialises there, on the held-out validation images:'
        f'\n\n{curve(f"{prefix}_peeraid", groups)}'
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
