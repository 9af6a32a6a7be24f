"""The table of accuracies of a report, from the runs' result files."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peeraid_jax.evaluation import earlier_files, entries
from peeraid_jax.report import runs, text

_SHORT = {'first': 'the first {} images', 'stratified': '{} images, stratified'}


class _Column(NamedTuple):
  """A column: accuracies in it are of the same images.

  Attributes:
    name: of the attack.
    n: number of test images.
    subset: which part of the test set they are.
  """

  name: str
  n: int
  subset: str

  @property
  def images(self) -> str:
    """Number of images and which, for the head of the column."""
    return _SHORT.get(self.subset, '{} images').format(self.n)


def _measured(run: runs.Run) -> list[entries.Entry]:
  """Returns the accuracies under attacks, those of AutoAttack last."""
  found = earlier_files.entries_of(run.results)
  of_kind = lambda kind: [entry for entry in found if entry['kind'] == kind]
  whole = [e for e in of_kind('autoattack') if e['name'] == 'autoattack']
  return [*of_kind('attack'), *whole]


def _column(entry: entries.Entry, others: Sequence[entries.Entry]) -> _Column:
  name = entries.label(entry, others).replace('autoattack', 'AutoAttack')
  return _Column(name, entry['n'], entry['subset'])


def _row_label(run: runs.Run, entry: entries.Entry) -> str:
  """Returns run and role; and the checkpoint, if it is not the report's."""
  role, source = entry['role'], entries.own_source(entry)
  label = f'{run.label}, {role}'
  if source is None or source == run.sources.get(role):
    return label
  return f'{label} ({entries.source_text(source)})'


def _accuracy(entry: entries.Entry) -> str:
  result = entry['result']
  name = 'accuracy' if entry['kind'] == 'attack' else 'robust_accuracy'
  return text.percent(result[name])


def _notes(opened_runs: Sequence[runs.Run], columns: Sequence[_Column]) -> str:
  """Says what the accuracies were measured on."""
  name = opened_runs[0].config.data.name
  notes = f'Accuracy in %, on test images of {name}. The head of a column says '
  notes += 'how many, and which.'
  if len({column.images for column in columns}) == 1:
    images = entries.images_text(columns[0].n, columns[0].subset)
    notes = f'Accuracy in %, on {images} of {name}.'
  selection_sets = {
    run.results.get('selection', {}).get('on') for run in opened_runs
  } - {None}
  if selection_sets:
    sets = ' or the '.join(sorted(selection_sets))
    notes += f' Checkpoints were selected by their accuracy on the {sets} set.'
  return notes


def table(opened_runs: Sequence[runs.Run]) -> dict[str, Any]:
  """Returns the accuracies of all networks of all runs.

  Accuracies on different images are in different columns, and those of
  different checkpoints in different rows.

  Args:
    opened_runs: the runs, with their result files.

  Returns:
    {'text': what was measured, 'heads': names of the attacks, 'rows': list of
    {'label', 'cells': accuracies in per cent as text, one per head}}. Without
    any evaluated run, there are no rows and the text says what to do.
  """
  pairs = [(run, entry) for run in opened_runs for entry in _measured(run)]
  if not pairs:
    return {
      'text': 'The run has not been evaluated yet; --mode=evaluate does so.',
      'heads': [],
      'rows': [],
    }
  measured = [entry for _, entry in pairs]
  rows: dict[str, dict[_Column, str]] = {}
  for run, entry in pairs:
    row = rows.setdefault(_row_label(run, entry), {})
    row[_column(entry, measured)] = _accuracy(entry)
  # A dict keeps the order in which attacks first occur; AutoAttack is last.
  columns = list(dict.fromkeys(_column(entry, measured) for entry in measured))
  columns.sort(key=lambda column: column.name.startswith('AutoAttack'))
  alike = len({column.images for column in columns}) == 1
  return {
    'text': _notes(opened_runs, columns),
    'heads': [
      column.name if alike else f'{column.name} ({column.images})'
      for column in columns
    ],
    'rows': [
      {'label': label, 'cells': [row.get(column, '') for column in columns]}
      for label, row in rows.items()
    ],
  }
