"""Markdown tables of result files, ours beside the papers'.

python -m peeraid_jax.report.tables experiments/results [FILE ...]

prints the tables that `tables.toml`, beside the folder of results, describes;
with files, writes them between their markers
(`<!-- tables: begin NAME -->` to `<!-- tables: end -->`).
"""

import collections
import json
import pathlib
import re
import statistics
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

ATTACKS = ('clean', 'fgsm', 'pgd20', 'cw30')
HEADS = ('clean', 'FGSM', 'PGD-20', 'CW-30')
ROLES = {'student': 'student', 'student_swa': 'SWA student', 'peer': 'peer'}
_PAPER_HEADS = {'clean': 'clean', 'pgd20': 'PGD-20', 'autoattack': 'AutoAttack'}
_MARKED = re.compile(
  r'<!-- tables: begin (\w+) -->\n(.*?)<!-- tables: end -->', re.DOTALL
)

# Experiment -> its results, the seeds of one run together.
Groups = Mapping[str, Sequence[dict[str, Any]]]


def read(folder) -> Groups:
  """Reads the result files of a folder."""
  groups = collections.defaultdict(list)
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    name = re.sub(r'_seed\d+$', '', path.stem)
    groups[name].append(json.loads(path.read_text()))
  return dict(groups)


def _mean(values: Sequence[float]) -> str:
  """Mean in per cent; with several seeds, and standard deviation."""
  mean = f'{100 * statistics.mean(values):.1f}'
  if len(values) == 1:
    return mean
  return f'{mean} ± {100 * statistics.stdev(values):.1f}'


def _row(label: str, cells: Sequence[str]) -> str:
  return f'| {" | ".join([label, *cells])} |'


def _strong(result: dict, role: str) -> dict | None:
  """Returns the report of AutoAttack on a role, if there is one."""
  return result.get('autoattack', {}).get(role, {}).get('autoattack')


def _accuracies(found, role: str, attack: str) -> list[float] | None:
  """Returns one accuracy per seed; None if a seed has none."""
  if attack == 'autoattack':
    reports = [_strong(f, role) for f in found]
    if None in reports:
      return None
    return [r['robust_accuracy'] for r in reports]
  values = [f['roles'].get(role, {}).get(attack) for f in found]
  return None if None in values else [v['accuracy'] for v in values]


def _listed(values) -> str:
  return ', '.join(map(str, sorted(values)))


def table(names: Mapping[str, str], groups: Groups, roles=tuple(ROLES)) -> str:
  """Returns one Markdown table of the named experiments.

  Args:
    names: experiment -> label, of one data set and budget.
    groups: as of `read`.
    roles: whose accuracies are shown.
  """
  lines = [
    _row(
      'method, network', [*HEADS, 'AutoAttack', 'tutor on student-attacked']
    ),
    _row('---', ['---:'] * (len(HEADS) + 2)),
  ]
  attacked: list[dict] = []
  most = max(len(groups[name]) for name in names)
  for name, label in names.items():
    found = groups[name]
    if len(found) < most:
      label += f' ({len(found)} of {most} seeds)'
    for role in roles:
      if role not in found[0]['roles']:
        continue
      values = [_accuracies(found, role, a) for a in (*ATTACKS, 'autoattack')]
      cells = [_mean(v) if v else '' for v in values]
      if values[-1]:
        attacked += [_strong(f, role) for f in found]
      shown = ''
      for tutor in ('peer', 'teacher'):
        transfer = f'{tutor}_on_student_pgd20'
        if role == 'student' and transfer in found[0]['transfer']:
          shown = _mean([f['transfer'][transfer]['accuracy'] for f in found])
      lines.append(_row(f'{label}, {ROLES[role]}', [*cells, shown]))
  every = [f for n in names for f in groups[n]]
  first = every[0]
  counted = _listed({f['roles']['student']['clean']['n'] for f in every})
  counted += ' test images'
  if attacked:
    counted += (
      f', AutoAttack on {_listed({r["n"] for r in attacked})} (commit '
      f'{_listed({r["commit"][:12] for r in attacked})})'
    )
  lines.append('')
  lines.append(
    f'Accuracy in % on {counted}; '
    f'epsilon {first["config"]["attack"]["epsilon"] * 255:.1f}/255; seeds '
    f'{_listed({f["seed"] for f in every})}; '
    f'{first["config"]["train"]["epochs"]} '
    f'epochs; checkpoints chosen on a {first["selection"]["on"]} set; '
    f'{first["device"]}; commit {_listed({f["commit"][:12] for f in every})}.'
  )
  return '\n'.join(lines)


def curve(found: Mapping[str, Any]) -> str:
  """Returns how a peer specialises over the epochs, on the selection set.

  Args:
    found: result of a run with a peer.
  """
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
    cells = [_mean([record[c]]) for c in columns.values()]
    lines.append(_row(str(record['epoch']), cells))
  return '\n'.join(lines)


def results(described: Sequence[Mapping[str, Any]], groups: Groups) -> str:
  """Returns the tables of our runs.

  Args:
    described: each with 'title', 'rows' (experiment -> label), 'roles', and
      perhaps 'curve', an experiment whose peer is followed.
    groups: as of `read`.
  """
  parts = []
  for of in described:
    there = {n: label for n, label in of['rows'].items() if n in groups}
    if there:
      made = table(there, groups, of['roles'])
      parts.append(f'{of["title"]}.\n\n{made}')
    if of.get('curve') in there:
      parts.append(
        'How the peer specialises there, on the held-out validation images:'
        f'\n\n{curve(groups[of["curve"]][0])}'
      )
  return '\n\n'.join(parts)


def command(of: Mapping[str, Any]) -> str:
  """Returns the command of a row of a paper's table."""
  if 'command' in of:
    return of['command']
  flags = [f'--config={of["config"]}']
  for field, value in of.get('overrides', {}).items():
    quoted = f'"{value}"' if re.search(r'[^\w.:=/-]', value) else value
    flags.append(f'--config.{field}={quoted}')
  return ' '.join(['python -m peeraid_jax.main', *flags])


def _difference(ours: Sequence[float], paper: float) -> str:
  return f'{100 * statistics.mean(ours) - paper:+.1f}'


def paper(described: Sequence[Mapping[str, Any]], groups: Groups) -> str:
  """Returns what a paper says beside what our runs say.

  Args:
    described: each with 'what', and either 'command', or 'run', 'config' and
      'overrides'; perhaps 'paper' (attack -> per cent), 'source' and 'role'.
    groups: as of `read`.
  """
  heads = ['command', "the paper's, in %", 'ours', 'difference', 'seeds']
  lines = [
    _row('table or figure', heads),
    _row('---', ['---', '---', '---:', '---:', '---:']),
  ]
  for of in described:
    said, ours, differences = [], [], []
    found = groups.get(of.get('run', ''), [])
    for attack, value in of.get('paper', {}).items():
      name = _PAPER_HEADS[attack]
      said.append(f'{name} {value}')
      values = _accuracies(found, of.get('role', 'student'), attack)
      if found and values:
        ours.append(f'{name} {_mean(values)}')
        differences.append(_difference(values, value))
    text = ', '.join(said)
    if 'source' in of:
      text = f'{text} ({of["source"]})' if said else of['source']
    lines.append(
      _row(
        of['what'],
        [
          f'`{command(of)}`',
          text,
          ', '.join(ours) or ('not run' if 'run' in of else ''),
          ', '.join(differences),
          _listed({f['seed'] for f in found}),
        ],
      )
    )
  return '\n'.join(lines)


def make(folder) -> dict[str, str]:
  """Returns name -> Markdown of all tables.

  Args:
    folder: of result files; `tables.toml` lies beside it.

  Raises:
    FileNotFoundError: there is no such folder, or no `tables.toml`.
  """
  folder = pathlib.Path(folder)
  described = folder.parent / 'tables.toml'
  for path in (folder, described):
    if not path.exists():
      raise FileNotFoundError(f'{path} is not there')
  found = tomllib.loads(described.read_text())
  groups = read(folder)
  made = {'results': results(found['results'], groups)}
  for name, of in found['papers'].items():
    made[name] = paper(of, groups)
  return made


def between(text: str, made: Mapping[str, str]) -> str:
  """Returns a text with tables between their markers.

  Raises:
    ValueError: no markers, or those of an unknown table.
  """
  names = [match[1] for match in _MARKED.finditer(text)]
  if not names or not set(names) <= set(made):
    raise ValueError(
      f'markers of {", ".join(names) or "no table"}; known: {", ".join(made)}'
    )
  return _MARKED.sub(
    lambda match: (
      f'<!-- tables: begin {match[1]} -->\n{made[match[1]]}\n'
      '<!-- tables: end -->'
    ),
    text,
  )


def main(arguments: Sequence[str]) -> None:
  """Prints the tables, or writes them into the named files."""
  if not arguments:
    sys.exit('error: name the folder of results, such as experiments/results')
  try:
    made = make(arguments[0])
    for name in arguments[1:]:
      path = pathlib.Path(name)
      path.write_text(between(path.read_text(), made))
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  if not arguments[1:]:
    print('\n\n'.join(made.values()))


if __name__ == '__main__':
  main(sys.argv[1:])
