"""The runs that a report shows, opened."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from peeraid_jax import build, checkpoint, metrics, saved
from peeraid_jax import nets as nets_lib
from peeraid_jax.report import measure


class Run(NamedTuple):
  """One run.

  Attributes:
    label: how figures call it.
    workdir: its folder.
    config: of the run.
    role: the network that the report looks at.
    nets: role -> network.
    sources: role -> the checkpoint it comes from.
    results: of `results.json`, or nothing.
    records: of `metrics.jsonl`.
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
    return self.nets[self.role]

  @property
  def threat(self) -> measure.Threat:
    attack = self.config.attack
    return measure.Threat(attack.epsilon, attack.step_size, attack.norm)


def _open(workdir: pathlib.Path, role: str) -> Run:
  config = checkpoint.read_config(workdir)
  restored, _ = saved.restore(config, workdir)
  if role not in restored:
    raise ValueError(f'--role={role}: {workdir} has {", ".join(restored)}')
  results = {}
  path = workdir / 'results.json'
  if path.exists():
    try:
      results = json.loads(path.read_text())
    except ValueError:
      metrics.say(f'warning: {path} is damaged; its accuracies are left out')
  nets = {
    name: net.replace(
      module=net.module.clone(dtype=jnp.float32, axis_name=None)
    )
    for name, (net, _) in restored.items()
  }
  sources = {name: source for name, (_, source) in restored.items()}
  return Run(
    config.method.name,
    workdir,
    config,
    role,
    nets,
    sources,
    results,
    metrics.read(workdir),
  )


def open_all(workdirs: Sequence[Any], role: str) -> list[Run]:
  """Opens runs that are to be compared.

  Args:
    workdirs: their folders; the report is of the first.
    role: 'student', 'student_swa' or 'peer'.

  Raises:
    FileNotFoundError: no such run, or it has saved nothing.
    ValueError: no such role, or runs on other data or another threat.
  """
  found = [_open(pathlib.Path(w), role) for w in workdirs]
  first = found[0]
  for other in found[1:]:
    for what, ours, theirs in (
      ('data', first.config.data.name, other.config.data.name),
      ('attack', first.threat, other.threat),
    ):
      if ours != theirs:
        raise ValueError(
          f'--compare={other.workdir}: its {what} is {theirs}, that of '
          f'{first.workdir} is {ours}; runs should be alike in both'
        )
  labels = [run.label for run in found]
  if len(set(labels)) < len(labels):
    labels = [run.workdir.resolve().name for run in found]
  if len(set(labels)) < len(labels):
    labels = [str(run.workdir) for run in found]
  return [
    run._replace(label=label) for run, label in zip(found, labels, strict=True)
  ]


def points(run: Run, count: int, data_dir: str) -> measure.Points:
  """Returns the first test images of a run's data.

  Args:
    run: whose data.
    count: how many; at most all.
    data_dir: where the data set is, if not where the run found it.

  Raises:
    FileNotFoundError: the data set is missing.
  """
  images, labels = build.test_images(run.config, count, data_dir=data_dir)
  return measure.Points(images, labels, run.config.seed)
