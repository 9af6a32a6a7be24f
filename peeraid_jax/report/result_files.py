"""Result files of finished runs, grouped by experiment."""

import collections
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from peeraid_jax.runtime import files

# Experiment -> content of its result files, one for each seed.
Groups = Mapping[str, Sequence[dict[str, Any]]]


def read(folder) -> Groups:
  """Reads the result files of a folder.

  Args:
    folder: holds EXPERIMENT.json or EXPERIMENT_seedN.json files.

  Returns:
    Experiment -> content of its result files.

  Raises:
    ValueError: a file is damaged.
  """
  groups = collections.defaultdict(list)
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    experiment = re.sub(r'_seed\d+$', '', path.stem)
    groups[experiment].append(files.read_json(path))
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
  if attack == 'autoattack':
    reports = [autoattack_report(result, role) for result in results]
    if None in reports:
      return None
    return [report['robust_accuracy'] for report in reports]
  reports = [result['roles'].get(role, {}).get(attack) for result in results]
  if None in reports:
    return None
  return [report['accuracy'] for report in reports]
