"""Result files of finished runs, grouped by experiment."""

import collections
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from peeraid_jax.runtime import results as results_lib

# Parts of a result file that every table needs.
_NEEDED = ('config', 'commit', 'device', 'seed', 'selection', 'transfer')

# Experiment -> content of its result files, one for each seed.
Groups = Mapping[str, Sequence[dict[str, Any]]]


def read(folder) -> Groups:
  """Reads the result files of a folder.

  Args:
    folder: holds EXPERIMENT.json or EXPERIMENT_seedN.json files.

  Returns:
    Experiment -> content of its result files.

  Raises:
    ValueError: a file is damaged; the message names it.
  """
  groups = collections.defaultdict(list)
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    content = results_lib.read_file(path)
    missing = [part for part in _NEEDED if part not in content]
    if missing:
      raise ValueError(f'{path} is damaged (it lacks {", ".join(missing)})')
    experiment = re.sub(r'_seed\d+$', '', path.stem)
    groups[experiment].append(content)
  return dict(groups)


def autoattack_report(
  result: Mapping[str, Any], role: str
) -> dict[str, Any] | None:
  """Returns the report of AutoAttack on a network of a run.

  Args:
    result: content of the run's `results.json`; may be empty.
    role: the network, such as 'student'.

  Returns:
    The report as JSON; None if AutoAttack was not run on this network.
  """
  return result.get('autoattack', {}).get(role, {}).get('autoattack')


def images(results: Sequence[Mapping[str, Any]], role: str, attack: str) -> str:
  """Says on how many images the accuracies were measured: '200 (stratified)'.

  Args:
    results, role, attack: as of `accuracies`, which returns a list for them.
  """
  return ' or '.join(
    dict.fromkeys(_images(_report(r, role, attack) or {}) for r in results)
  )


def subset(results: Sequence[Mapping[str, Any]], role: str, attack: str) -> str:
  """Says on which part of the test set accuracies are; empty if on all of it.

  Args:
    results, role, attack: as of `images`.
  """
  reports = [_report(result, role, attack) or {} for result in results]
  if all(report.get('subset', 'all') == 'all' for report in reports):
    return ''
  return f' (on {images(results, role, attack)} images)'


def images_of_transfer(results: Sequence[Mapping[str, Any]], name: str) -> str:
  """Does the same for accuracies on images that attack another network."""
  return ' or '.join(
    dict.fromkeys(_images(result['transfer'][name]) for result in results)
  )


def _images(value: Mapping[str, Any]) -> str:
  """Returns a number of images, and which, if they are a stratified subset."""
  stratified = value.get('subset') == 'stratified'
  return f'{value.get("n")}{" (stratified)" if stratified else ""}'


def _report(
  result: Mapping[str, Any], role: str, attack: str
) -> dict[str, Any] | None:
  """Returns the report of an attack on a network; None without one."""
  if attack == 'autoattack':
    return autoattack_report(result, role)
  return result['roles'].get(role, {}).get(attack)


def accuracies(
  results: Sequence[Mapping[str, Any]], role: str, attack: str
) -> list[float] | None:
  """Returns the accuracy of a network under an attack, for each seed.

  Args:
    results: content of the result files, one for each seed.
    role: the network, such as 'student'.
    attack: its name in the result files, such as 'clean', 'pgd20' or
      'autoattack'.

  Returns:
    One accuracy for each seed; None if a seed has none, since the mean of the
    others would not be comparable.
  """
  name = 'robust_accuracy' if attack == 'autoattack' else 'accuracy'
  reports = [_report(result, role, attack) for result in results]
  found = [report[name] for report in reports if report is not None]
  return found if len(found) == len(reports) else None
