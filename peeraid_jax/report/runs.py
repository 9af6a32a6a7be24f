"""Opens the runs that a report shows: their networks, results and records."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from peeraid_jax import config as config_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import earlier_files, entries, networks
from peeraid_jax.report import measure
from peeraid_jax.runtime import metrics_log, progress, results
from peeraid_jax.runtime import workdir as workdir_lib


class Run(NamedTuple):
  """One run.

  Attributes:
    label: name of the run in figures and tables.
    workdir: its work directory.
    config: the run's config.
    role: the network that the report is about, such as 'student'.
    nets: role -> network.
    sources: role -> the checkpoint that the network was restored from, as
      JSON.
    results: content of `results.json`; empty if the run was not evaluated.
    records: records of `metrics.jsonl`, in order of steps.
  """

  label: str
  workdir: pathlib.Path
  config: Any
  role: str
  nets: dict[str, nets_lib.Net]
  sources: dict[str, dict[str, Any]]
  results: dict[str, Any]
  records: list[dict[str, Any]]

  @property
  def net(self) -> nets_lib.Net:
    """The network that the report is about."""
    return self.nets[self.role]

  @property
  def threat(self) -> measure.Threat:
    """The threat model that the run was trained against."""
    attack = self.config.attack
    return measure.Threat(
      attack.epsilon, config_lib.eval_step_size(self.config), attack.norm
    )

  def measured(self, kind: str, name: str = '') -> list[entries.Entry]:
    """Returns what the result file holds of the report's network.

    Measurements on other checkpoints than the restored one are left out.

    Args:
      kind: of `entries.KINDS`.
      name: of the attack; by default any.
    """
    return [
      entry
      for entry in earlier_files.entries_of(self.results)
      if (entry['kind'], entry['role']) == (kind, self.role)
      and name in ('', entry['name'])
      and entries.own_source(entry) in (None, self.sources.get(self.role))
    ]


def _read_results(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads `results.json`; a missing or damaged file counts as no results."""
  try:
    return results.read(workdir) or {}
  except ValueError as error:
    progress.say(f'warning: {error}. The report leaves its accuracies out')
    return {}


def _open(workdir: pathlib.Path, role: str) -> Run:
  config = workdir_lib.read_config(workdir)
  restored, _ = networks.restore(config, workdir)
  if role not in restored:
    raise ValueError(
      f'--role={role}: {workdir} has no such network; '
      f'it has {", ".join(restored)}'
    )
  # Networks are measured in float32, whatever they were trained in, and
  # outside of mapped axes.
  nets = {
    name: nets_lib.standalone(net, dtype=jnp.float32)
    for name, (net, _) in restored.items()
  }
  return Run(
    label=config.method.name,
    workdir=workdir,
    config=config,
    role=role,
    nets=nets,
    sources={name: source for name, (_, source) in restored.items()},
    results=_read_results(workdir),
    records=metrics_log.read(workdir),
  )


def _check_comparable(first: Run, other: Run) -> None:
  """Raises ValueError if two runs differ in data set or threat model."""
  for setting, other_value, first_value in (
    ('data', other.config.data.name, first.config.data.name),
    ('attack', other.threat, first.threat),
  ):
    if other_value != first_value:
      raise ValueError(
        f'--compare={other.workdir}: its {setting} is {other_value}, but that '
        f'of {first.workdir} is {first_value}; compare runs with the same data '
        'set and the same attack'
      )


def _unique_labels(runs: Sequence[Run]) -> list[str]:
  """Returns the method of each run, or its folder if methods repeat."""
  for labels in (
    [run.label for run in runs],
    [run.workdir.resolve().name for run in runs],
  ):
    if len(set(labels)) == len(labels):
      return labels
  return [str(run.workdir) for run in runs]


def open_all(workdirs: Sequence[Any], role: str) -> list[Run]:
  """Opens the runs of a report.

  Args:
    workdirs: their work directories; the report is about the first.
    role: 'student', 'student_swa' or 'peer'.

  Returns:
    The runs, each with its own label.

  Raises:
    FileNotFoundError: not a work directory, or it has no checkpoint.
    ValueError: a run has no such role, or the runs differ in data set or
      threat model.
  """
  runs = [_open(pathlib.Path(workdir), role) for workdir in workdirs]
  for other in runs[1:]:
    _check_comparable(runs[0], other)
  labels = _unique_labels(runs)
  return [
    run._replace(label=label) for run, label in zip(runs, labels, strict=True)
  ]


def test_examples(
  run: Run, count: int, data_dir: str
) -> tuple[measure.Examples, str]:
  """Loads test images of a run's data set, as an evaluation would take them.

  Args:
    run: the run whose data set and seed are used.
    count: number of images; at most all are returned.
    data_dir: folder of the data set, if it is not where the run found it.

  Returns:
    (the images; what they are: 'all', 'first' or 'stratified').

  Raises:
    FileNotFoundError: the data set is missing.
  """
  images, labels, subset = dataset.test_images(
    run.config, count, data_dir=data_dir
  )
  return measure.Examples(images, labels, run.config.seed), subset
