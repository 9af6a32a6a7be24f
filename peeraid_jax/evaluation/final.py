"""Final evaluation of a run; writes results.json and outcomes.npz.

`evaluate_run` restores the saved networks, attacks them as
`config.eval.attacks` requests, and adds each accuracy to results.json as soon
as it is known. What earlier evaluations measured stays there.
"""

import pathlib
import time
from typing import Any

import jax
import numpy as np

from peeraid_jax import files
from peeraid_jax.config import dataset
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.evaluation import (
  earlier_files,
  entries,
  measuring,
  networks,
  result_content,
  subjects,
)
from peeraid_jax.runtime import (
  interrupts,
  metrics_log,
  processes,
)
from peeraid_jax.runtime import results as results_lib


def _save_outcomes(workdir, arrays: dict[str, np.ndarray]) -> None:
  """Saves per-example outcomes of this evaluation in `outcomes.npz`."""
  path = workdir / 'outcomes.npz'
  with files.replacing(path, suffix='.tmp.npz') as temporary:
    np.savez_compressed(temporary, **arrays)


def _new_content(subject: subjects.Subject, teachers) -> dict[str, Any]:
  """Returns what results.json says of the run, besides its measurements."""
  config = subject.config
  return {
    'config': result_content.portable_config(config),
    **subject.provenance,
    'seed': config.seed,
    'selection': {
      'on': config.eval.select_on,
      'attack': config.eval.select_attack,
      'roles': subject.sources,
    },
    'teachers': teachers,
    'history': [
      record
      for record in metrics_log.read(subject.workdir)
      if 'epoch' in record
    ],
  }


def _check_count(config, count: int) -> None:
  """Raises ValueError if there are too few images for what is requested."""
  if subjects.request(config).autoattack and count < jax.process_count():
    raise ValueError(
      f'config.eval.examples={count} should be at least the number of '
      f'processes, {jax.process_count()}'
    )


def _measure_and_write(
  subject: subjects.Subject,
  content: dict[str, Any],
  measured: list[entries.Entry],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Evaluates, and writes the results after each finished measurement.

  Args:
    subject: what is evaluated.
    content: what results.json says of the run.
    measured: entries of earlier evaluations.

  Returns:
    (content of results.json; name -> outcome of each example of this
    evaluation).
  """
  start_time = time.monotonic()
  path = pathlib.Path(subject.workdir) / 'results.json'
  outcomes: dict[str, np.ndarray] = {}

  def write():
    written = result_content.joined(content, measured)
    if jax.process_index() == 0:
      files.write_json(path, written)
    return written

  with interrupts.Interrupts() as signals:
    for finished in measuring.measure(subject, signals):
      outcomes |= finished.outcomes
      measured = entries.added(measured, finished.entry)
      write()
  seconds = time.monotonic() - start_time
  content = {**content, 'evaluation_seconds': round(seconds, 1)}
  return write(), outcomes


def evaluate_run(
  config,
  workdir: pathlib.Path,
  test,
  corruptions: corruptions_lib.Folder | None = None,
) -> dict[str, Any]:
  """Evaluates the saved networks of a run and writes `results.json`.

  Each measurement is written when it is finished, beside those of earlier
  evaluations; it replaces an earlier one of the same network, attack, settings,
  images and checkpoint.

  Args:
    config: validated, the config of the work directory.
    workdir: work directory of the run.
    test: the test `Dataset`.
    corruptions: corrupted test images, if there are any.

  Returns:
    The content of `results.json`.

  Raises:
    FileNotFoundError: the run has no checkpoint.
    ValueError: `config.eval.roles` names no network of the run.
    interrupts.Interrupted: a signal arrived.
  """
  restored, teachers = networks.restore(config, workdir)
  nets = {role: net for role, (net, _) in restored.items()}
  total = len(test.labels)
  rows, subset = dataset.chosen(
    test.labels, config.eval.examples, config.eval.subset
  )
  subject = subjects.Subject(
    config,
    workdir,
    nets,
    subjects.evaluated_nets(config, workdir, nets),
    {r: source for r, (_, source) in restored.items() if r != 'teacher'},
    test.take(rows),
    subset,
    corruptions,
    {
      'commit': results_lib.commit(),
      'device': results_lib.device(),
      'versions': results_lib.versions(),
    },
  )
  _check_count(config, len(subject.data.labels))
  earlier = processes.together(lambda: result_content.earlier(workdir))
  content, outcomes = _measure_and_write(
    subject,
    result_content.described(
      earlier,
      _new_content(subject, teachers),
      measures_accuracies=bool(subjects.request(config).plain),
    ),
    earlier_files.entries_of(earlier, total),
  )
  if config.eval.save_outcomes and jax.process_index() == 0:
    labels = {'labels': subject.data.labels, 'rows': np.arange(total)[rows]}
    _save_outcomes(workdir, labels | outcomes)
  return content
