"""Markdown tables of the papers' numbers beside those of our runs."""

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from peeraid_jax.report import result_files, text

# Attack, as in result files -> how the cells call it.
_ATTACKS = {'clean': 'clean', 'pgd20': 'PGD-20', 'autoattack': 'AutoAttack'}


def command(row: Mapping[str, Any]) -> str:
  """Returns the shell command that reproduces a row of a paper's table.

  Args:
    row: has 'command'; or 'config' and perhaps 'overrides' (field -> value).
  """
  if 'command' in row:
    return row['command']
  flags = [f'--config={row["config"]}']
  for field, value in row.get('overrides', {}).items():
    # Characters that a shell would interpret.
    needs_quotes = re.search(r'[^\w.:=/-]', value)
    flags.append(
      f'--config.{field}="{value}"'
      if needs_quotes
      else f'--config.{field}={value}'
    )
  return ' '.join(['python -m peeraid_jax.main', *flags])


def _row(row: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
  """Returns one row.

  Args:
    row: as in `render`.
    results: result files of its run, one for each seed; perhaps none.
  """
  papers, ours, differences = [], [], []
  for attack, paper_percent in row.get('paper', {}).items():
    name = _ATTACKS[attack]
    papers.append(f'{name} {paper_percent}')
    accuracies = result_files.accuracies(
      results, row.get('role', 'student'), attack
    )
    if accuracies:
      mean = text.mean_percent(accuracies)
      subset = result_files.subset(results, row.get('role', 'student'), attack)
      ours.append(f'{name} {mean}{subset}')
      difference = 100 * statistics.mean(accuracies) - paper_percent
      differences.append(f'{difference:+.1f}')
  paper_cell = ', '.join(papers)
  if 'source' in row:
    source = row['source']
    paper_cell = f'{paper_cell} ({source})' if papers else source
  return text.table_row(
    row['what'],
    [
      f'`{command(row)}`',
      paper_cell,
      ', '.join(ours) or ('not run' if 'run' in row else ''),
      ', '.join(differences),
      text.listed(result['seed'] for result in results),
    ],
  )


def render(
  rows: Sequence[Mapping[str, Any]], groups: result_files.Groups
) -> str:
  """Renders the table of one paper.

  Args:
    rows: each with 'what' (table or figure of the paper) and 'command'; or
      with 'what', 'run' (our experiment), 'config' and 'overrides'. Optional:
      'paper' (attack -> the paper's accuracy in per cent), 'source' (where the
      numbers are from, if not that table) and 'role'.
    groups: as of `result_files.read`.

  Returns:
    Markdown.
  """
  heads = ['command', "the paper's, in %", 'ours', 'difference', 'seeds']
  lines = [
    text.table_row('table or figure', heads),
    text.table_row('---', ['---', '---', '---:', '---:', '---:']),
  ]
  lines += [_row(row, groups.get(row.get('run', ''), [])) for row in rows]
  return '\n'.join(lines)
