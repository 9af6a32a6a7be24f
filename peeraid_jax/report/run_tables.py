"""Markdown tables of our own runs."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from peeraid_jax.evaluation import earlier_files, entries
from peeraid_jax.report import result_files, text

# Attack, as in result files -> heading of its column.
ATTACKS = {
  'clean': 'clean',
  'fgsm': 'FGSM',
  'pgd20': 'PGD-20',
  'cw30': 'CW-30',
}
# Role -> how labels of rows call it.
ROLES = {'student': 'student', 'student_swa': 'SWA student', 'peer': 'peer'}
# Headings of the other columns: AutoAttack, and peers and teachers.
_AUTOATTACK = 'AutoAttack'
_TUTOR = 'tutor on student-attacked'


class _Cell(NamedTuple):
  """A cell of the table.

  Attributes:
    text: the accuracy; empty if there is none.
    images: number of test images that it was measured on, as text.
  """

  text: str
  images: str


_EMPTY = _Cell('', '')


def _transfer_cell(results: Sequence[Mapping[str, Any]]) -> _Cell:
  """Returns the accuracy of peer or teacher on images attacking the student.

  Args:
    results: result files of an experiment, one for each seed.

  Returns:
    Mean accuracy in per cent; empty if the method has no tutor.
  """
  cell = _EMPTY
  for tutor in ('peer', 'teacher'):
    transfer = f'{tutor}_on_student_pgd20'
    if all(transfer in result['transfer'] for result in results):
      mean = text.mean_percent(
        [result['transfer'][transfer]['accuracy'] for result in results]
      )
      images = result_files.images_of_transfer(results, transfer)
      cell = _Cell(mean, images)
  return cell


def _cells(role: str, results: Sequence[Mapping[str, Any]]) -> dict[str, _Cell]:
  """Returns head of the column -> cell, of one network of one experiment."""
  cells = {}
  for attack, head in (*ATTACKS.items(), ('autoattack', _AUTOATTACK)):
    cells[head] = _EMPTY
    accuracies = result_files.accuracies(results, role, attack)
    if accuracies:
      images = result_files.images(results, role, attack)
      cells[head] = _Cell(text.mean_percent(accuracies), images)
  cells[_TUTOR] = _transfer_cell(results) if role == 'student' else _EMPTY
  return cells


def _usual_images(
  rows: Mapping[str, Mapping[str, _Cell]],
) -> dict[str, str]:
  """Returns head of the column -> images of most of its cells."""
  usual = {}
  for head in (*ATTACKS.values(), _AUTOATTACK, _TUTOR):
    counts = collections.Counter(
      row[head].images for row in rows.values() if row[head].text
    )
    if counts:
      usual[head] = counts.most_common(1)[0][0]
  return usual


def _notes(
  results: Sequence[Mapping[str, Any]],
  autoattack_reports: Sequence[Mapping[str, Any]],
  usual: Mapping[str, str],
) -> str:
  """Returns the sentence below a table: data, settings and commits.

  Args:
    results: all result files of the table. Their settings are alike, so the
      first one stands for all where a setting is named once.
    autoattack_reports: reports of AutoAttack that the table shows.
    usual: as of `_usual_images`.
  """
  first = results[0]
  by_head = {head: n for head, n in usual.items() if head != _AUTOATTACK}
  if len(set(by_head.values())) == 1:
    images = f'{next(iter(by_head.values()))} test images'
  else:
    images = ', '.join(f'{n} ({head})' for head, n in by_head.items())
    images += ' test images'
  if autoattack_reports:
    commits = {report['commit'][:12] for report in autoattack_reports}
    images += (
      f', AutoAttack on {usual[_AUTOATTACK]} (commit {text.listed(commits)})'
    )
  commits = {
    entry['commit'][:12]
    for result in results
    for entry in earlier_files.entries_of(result)
    if entry['kind'] == 'attack'
    and entries.is_of(entry, result['selection'].get('roles', {}))
  }
  return (
    f'Accuracy in % on {images}; '
    f'epsilon {first["config"]["attack"]["epsilon"] * 255:.1f}/255; seeds '
    f'{text.listed(result["seed"] for result in results)}; '
    f'{first["config"]["train"]["epochs"]} '
    f'epochs; checkpoints chosen on a {first["selection"]["on"]} set; '
    f'{first["device"]}; commit {text.listed(commits)}.'
  )


def table(
  labels: Mapping[str, str],
  groups: result_files.Groups,
  roles: Sequence[str] = tuple(ROLES),
) -> str:
  """Returns one Markdown table.

  Args:
    labels: experiment -> label of its rows. All experiments share one data set
      and one training budget.
    groups: as of `result_files.read`.
    roles: networks to show.

  Returns:
    The table, with its notes below. A cell whose accuracy was measured on
    other images than most of its column says so.
  """
  heads = [*ATTACKS.values(), _AUTOATTACK, _TUTOR]
  rows: dict[str, dict[str, _Cell]] = {}
  autoattack_reports: list[Mapping[str, Any]] = []
  most_seeds = max(len(groups[experiment]) for experiment in labels)
  for experiment, label in labels.items():
    results = groups[experiment]
    if len(results) < most_seeds:
      label += f' ({len(results)} of {most_seeds} seeds)'
    for role in roles:
      if role not in results[0]['roles']:
        continue
      row = _cells(role, results)
      rows[f'{label}, {ROLES[role]}'] = row
      if row[_AUTOATTACK].text:
        autoattack_reports += [
          result_files.autoattack_report(result, role) or {}
          for result in results
        ]
  usual = _usual_images(rows)
  lines = [
    text.table_row('method, network', heads),
    text.table_row('---', ['---:'] * len(heads)),
  ]
  for label, row in rows.items():
    cells = [
      cell.text
      if not cell.text or cell.images == usual[head]
      else f'{cell.text} (on {cell.images} images)'
      for head, cell in row.items()
    ]
    lines.append(text.table_row(label, cells))
  all_results = [
    result for experiment in labels for result in groups[experiment]
  ]
  return '\n'.join([*lines, '', _notes(all_results, autoattack_reports, usual)])


def peer_curve(result: Mapping[str, Any]) -> str:
  """Returns how a peer specialises over the epochs, on the selection set.

  Args:
    result: result file of a run with a peer.

  Returns:
    A Markdown table with one row for each epoch.
  """
  attack = result['selection']['attack']
  # Heading -> name of the recorded scalar.
  columns = {
    'student clean': 'select/student/clean',
    f'student {attack}': f'select/student/{attack}',
    'peer clean': 'select/peer/clean',
    f'peer on student-attacked {attack}': f'select/peer_on_student_{attack}',
  }
  lines = [
    text.table_row('epoch', [*columns]),
    text.table_row('---:', ['---:'] * len(columns)),
  ]
  for record in result['history']:
    values = [record.get(name) for name in columns.values()]
    cells = ['' if v is None else text.percent(v) for v in values]
    lines.append(text.table_row(str(record['epoch']), cells))
  return '\n'.join(lines)


def render(
  descriptions: Sequence[Mapping[str, Any]], groups: result_files.Groups
) -> str:
  """Renders the described tables that have at least one finished run.

  Args:
    descriptions: each with 'title', 'rows' (experiment -> label), 'roles', and
      perhaps 'curve', the experiment whose peer is followed over the epochs.
    groups: as of `result_files.read`.

  Returns:
    Markdown.
  """
  parts = []
  for description in descriptions:
    labels = {
      experiment: label
      for experiment, label in description['rows'].items()
      if experiment in groups
    }
    if labels:
      markdown = table(labels, groups, description['roles'])
      parts.append(f'{description["title"]}.\n\n{markdown}')
    if description.get('curve') in labels:
      first_seed = groups[description['curve']][0]
      parts.append(
        'How the peer specialises there, on the held-out validation images:'
        f'\n\n{peer_curve(first_seed)}'
      )
  return '\n\n'.join(parts)
