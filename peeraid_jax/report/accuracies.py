"""The table of accuracies of a report, from the runs' result files."""

from collections.abc import Sequence
from typing import Any

from peeraid_jax.report import result_files, runs, text


def _evaluated_roles(run: runs.Run) -> dict[str, Any]:
  """Returns role -> attack -> {'accuracy', 'n'}."""
  return run.results.get('roles', {})


def _notes(opened_runs: Sequence[runs.Run]) -> str:
  """Says what the accuracies were measured on."""
  counts = {
    attack_report['n']
    for run in opened_runs
    for reports in _evaluated_roles(run).values()
    for attack_report in reports.values()
  }
  autoattack_counts = {
    report['n']
    for run in opened_runs
    for role in _evaluated_roles(run)
    if (report := result_files.autoattack_report(run.results, role))
  }
  selection_sets = {
    run.results.get('selection', {}).get('on') for run in opened_runs
  } - {None}
  notes = f'Accuracy in %, on {text.listed(counts)} test images of '
  notes += opened_runs[0].config.data.name
  if autoattack_counts:
    notes += f', AutoAttack on {text.listed(autoattack_counts)}'
  notes += '.'
  if selection_sets:
    sets = ' or the '.join(sorted(selection_sets))
    notes += f' Checkpoints were selected by their accuracy on the {sets} set.'
  return notes


def _row(
  run: runs.Run, role: str, attacks: Sequence[str], *, with_autoattack: bool
) -> dict[str, Any]:
  reports = _evaluated_roles(run)[role]
  cells = [
    text.percent(reports[attack]['accuracy']) if attack in reports else ''
    for attack in attacks
  ]
  if with_autoattack:
    report = result_files.autoattack_report(run.results, role)
    cells.append(text.percent(report['robust_accuracy']) if report else '')
  return {'label': f'{run.label}, {role}', 'cells': cells}


def table(opened_runs: Sequence[runs.Run]) -> dict[str, Any]:
  """Returns the accuracies of all networks of all runs.

  Args:
    opened_runs: the runs, with their result files.

  Returns:
    {'text': what was measured, 'heads': names of the attacks, 'rows': list of
    {'label', 'cells': accuracies in per cent as text, one per head}}. Without
    any evaluated run, there are no rows and the text says what to do.
  """
  if not any(_evaluated_roles(run) for run in opened_runs):
    return {
      'text': 'The run has not been evaluated yet; --mode=evaluate does so.',
      'heads': [],
      'rows': [],
    }
  # A dict keeps the order in which attacks first occur.
  attacks: dict[str, None] = {}
  for run in opened_runs:
    for reports in _evaluated_roles(run).values():
      attacks |= dict.fromkeys(reports)
  with_autoattack = any(
    'autoattack' in reports
    for run in opened_runs
    for reports in run.results.get('autoattack', {}).values()
  )
  return {
    'text': _notes(opened_runs),
    'heads': [*attacks, *(['AutoAttack'] if with_autoattack else [])],
    'rows': [
      _row(run, role, tuple(attacks), with_autoattack=with_autoattack)
      for run in opened_runs
      for role in _evaluated_roles(run)
    ],
  }
