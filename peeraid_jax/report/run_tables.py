"""Markdown tables of our own runs."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def _transfer_cell(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the accuracy of peer or teacher on images attacking the student.

  Args:
    results: result files of an experiment, one for each seed.

  Returns:
    Mean accuracy in per cent; empty if the method has no tutor.
  """
  cell = ''
  for tutor in ('peer', 'teacher'):
    transfer = f'{tutor}_on_student_pgd20'
    if transfer in results[0]['transfer']:
      cell = text.mean_percent(
        [result['transfer'][transfer]['accuracy'] for result in results]
      )
  return cell


def _row(label: str, role: str, results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the row of one network of one experiment."""
  cells = []
  for attack in (*ATTACKS, 'autoattack'):
    accuracies = result_files.accuracies(results, role, attack)
    cells.append(text.mean_percent(accuracies) if accuracies else '')
  cells.append(_transfer_cell(results) if role == 'student' else '')
  return text.table_row(f'{label}, {ROLES[role]}', cells)


def _notes(
  results: Sequence[Mapping[str, Any]],
  autoattack_reports: Sequence[Mapping[str, Any]],
) -> str:
  """Returns the sentence below a table: data, settings and commits.

  Args:
    results: all result files of the table. Their settings are alike, so the
      first one stands for all where a setting is named once.
    autoattack_reports: reports of AutoAttack that the table shows.
  """
  first = results[0]
  counts = {result['roles']['student']['clean']['n'] for result in results}
  images = f'{text.listed(counts)} test images'
  if autoattack_reports:
    counts = {report['n'] for report in autoattack_reports}
    commits = {report['commit'][:12] for report in autoattack_reports}
    images += (
      f', AutoAttack on {text.listed(counts)} (commit {text.listed(commits)})'
    )
  commits = {result['commit'][:12] for result in results}
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
    The table, with its notes below.
  """
  heads = [*ATTACKS.values(), 'AutoAttack', 'tutor on student-attacked']
  lines = [
    text.table_row('method, network', heads),
    text.table_row('---', ['---:'] * len(heads)),
  ]
  autoattack_reports: list[Mapping[str, Any]] = []
  most_seeds = max(len(groups[experiment]) for experiment in labels)
  for experiment, label in labels.items():
    results = groups[experiment]
    if len(results) < most_seeds:
      label += f' ({len(results)} of {most_seeds} seeds)'
    for role in roles:
      if role not in results[0]['roles']:
        continue
      lines.append(_row(label, role, results))
      if result_files.accuracies(results, role, 'autoattack'):
        autoattack_reports += [
          result_files.autoattack_report(result, role) for result in results
        ]
  all_results = [
    result for experiment in labels for result in groups[experiment]
  ]
  return '\n'.join([*lines, '', _notes(all_results, autoattack_reports)])


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
    cells = [text.percent(record[name]) for name in columns.values()]
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
