"""Runs and images that the tests of reports share."""

import json
from unittest import mock

import numpy as np

from peeraid_jax import files, report
from peeraid_jax.report import measure
from tests import helpers
from tests.export import runs as export_runs

THREAT = measure.Threat(0.1, 0.025, 'Linf')

# Content of a `results.json`.
RESULTS = {
  'roles': {'student': {'clean': {'accuracy': 0.625, 'n': 360}}},
  'selection': {'on': 'validation', 'roles': {}},
  'autoattack': {
    'student': {
      'autoattack': {
        'robust_accuracy': 0.25,
        'n': 16,
        'counts': {'misclassified': 4, 'apgd_ce': 8, 'robust': 4},
        'flags': {},
      }
    }
  },
  'commit': 'abc',
  'device': 'a machine',
}


def examples(count: int = 30) -> measure.Examples:
  """Returns the first test digits as a report measures on them."""
  data = helpers.digits(count)
  return measure.Examples(
    data.images.astype(np.float32) / 255, data.labels.astype(np.int32), 0
  )


def workdir(folder, name='run', method='peeraid', **results_content):
  """Creates the work directory of a run that ended, with untrained networks.

  Args:
    folder: parent folder.
    name: folder of the run in it; exists already.
    method: the run's method.
    **results_content: content of its `results.json`.

  Returns:
    The work directory.
  """
  config = helpers.config(method)
  path = export_runs.create_run(folder / name, config)
  records = []
  for epoch in (1, 2, 3):
    records.append(
      {
        'step': 3 * epoch,
        'student/loss_ce': 2.0 / epoch,
        'student/clean_accuracy': 0.2 * epoch,
      }
    )
    records.append(
      {
        'step': 3 * epoch,
        'epoch': epoch,
        'select/student/clean': 0.3 * epoch,
        'select/student/pgd2': 0.1 * epoch,
        'select/peer_on_student_pgd2': 0.25 * epoch,
      }
    )
  lines = ''.join(json.dumps(record) + '\n' for record in records)
  (path / 'metrics.jsonl').write_text(lines)
  if results_content:
    files.write_json(path / 'results.json', results_content)
  return path


def report_of_two(folder):
  """Writes a report that compares two runs, with short curves.

  Args:
    folder: where work directories and report are created.

  Returns:
    (work directories, path of the page).
  """
  for name in ('one', 'two'):
    (folder / name).mkdir()
  first = workdir(folder, 'one', **RESULTS)
  second = workdir(folder, 'two', 'pgd_at')
  with (
    mock.patch.object(measure, 'STEPS', (0, 1, 20)),
    mock.patch.object(measure, 'FACTORS', (0.0, 1.0)),
  ):
    path = report.make(
      first, [second], output=folder / 'out', examples=20, size=3
    )
  return (first, second), path
