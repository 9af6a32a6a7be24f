"""What sections are filled from: runs, test images and measurements."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.config import dataset
from peeraid_jax.evaluation import entries
from peeraid_jax.report import measure, runs, theme
from peeraid_jax.report import store as store_lib

# Steps of PGD, where a section does not choose its own number.
STEPS = 20


class Section(NamedTuple):
  """Figures under a heading.

  Attributes:
    title: the heading.
    text: what the figures show and how to read them.
    panels: the figures.
  """

  title: str
  text: str
  panels: list[theme.Panel]


class ReportData:
  """The runs of a report, the test images, and what was measured on them.

  Args:
    opened_runs: the runs; the report is about the first.
    examples: test images.
    subset: what they are: 'all', 'first' or 'stratified'.
    store: measurements so far.
    landscape_size: grid points along each direction of a loss landscape.

  Attributes:
    runs: as given.
    first: the run that the report is about.
    examples: as given.
    subset: as given.
    landscape_size: as given.
    class_names: names of the classes, in the order of the labels.
  """

  def __init__(
    self,
    opened_runs: Sequence[runs.Run],
    examples: measure.Examples,
    subset: str,
    store: store_lib.Store,
    *,
    landscape_size: int,
  ):
    self.runs, self.examples, self._store = opened_runs, examples, store
    self.first, self.landscape_size = opened_runs[0], landscape_size
    self.subset, self._how = subset, self.first.config.eval.subset
    self.class_names = dataset.class_names(self.first.config.data)

  def rows(self, count: int, among: np.ndarray | None = None) -> np.ndarray:
    """Chooses rows of the test images, as `config.eval.subset` says.

    Args:
      count: how many; at most all.
      among: rows to choose from; by default all.
    """
    labels = self.examples.labels
    among = np.arange(len(labels)) if among is None else among
    chosen, _ = dataset.chosen(labels[among], count, self._how)
    return among[chosen]

  def some_examples(self, count: int) -> measure.Examples:
    """Returns those test images that `rows` chooses."""
    images, labels, seed = self.examples
    rows = self.rows(count)
    return measure.Examples(images[rows], labels[rows], seed)

  def images_text(self, count: int | None = None) -> str:
    """Says how many test images, and which; by default all of the report."""
    total = len(self.examples.labels)
    if count is None or count >= total:
      return entries.images_text(total, self.subset)
    return entries.images_text(count, self._how)

  def caption(
    self,
    count: int | None = None,
    attack: str = '',
    run: runs.Run | None = None,
  ) -> str:
    """Returns the sentence that a figure's caption begins with.

    Args:
      count: number of test images; by default all.
      attack: name of the attack, if there is one.
      run: the run that the figure shows; by default all runs.

    Returns:
      Data set, number of images, attack with its settings, and network.
    """
    parts = [f'{self.first.config.data.name}, {self.images_text(count)}']
    if attack:
      parts.append(f'{attack}, {self.pgd}')
    label = run.label if run else 'each run'
    parts.append(f'{self.first.role} of {label}')
    return f'{"; ".join(parts)}.'

  @property
  def commits(self) -> set[str]:
    """Commits of the code that measured what the report shows."""
    return self._store.commits

  @property
  def threat_model(self) -> str:
    """Norm and radius of the threat model, in words."""
    epsilon, _, norm = self.first.threat
    if norm == 'Linf':
      return f'{norm}, epsilon {255 * epsilon:g}/255'
    return f'{norm}, epsilon {epsilon:g}'

  @property
  def pgd(self) -> str:
    """Threat model and step size of PGD, in words."""
    step_size = self.first.threat.step_size
    if self.first.threat.norm == 'Linf':
      return f'{self.threat_model}, step size {255 * step_size:g}/255'
    return f'{self.threat_model}, step size {step_size:g}'

  def measured(
    self,
    run: runs.Run,
    name: str,
    measure_arrays: Callable[[], Mapping[str, np.ndarray]],
    **settings,
  ) -> dict[str, np.ndarray]:
    """Returns a stored measurement of a run, or measures and stores it.

    Args:
      run: the run whose network is measured.
      name: name of the measurement.
      measure_arrays: called if nothing is stored; returns name -> array.
      **settings: settings that the numbers depend on, besides network, seed
        and threat model; JSON.

    Returns:
      name -> array.
    """
    # Labels may be paths, or longer than the name of a file may be.
    label = re.sub(r'[^A-Za-z0-9_.-]', '_', run.label)[-100:]
    if self._how != 'first':
      settings['subset'] = self._how
    return self._store.get(
      f'{label}-{name}',
      {
        'source': run.sources[run.role],
        'workdir': str(run.workdir.resolve()),
        'role': run.role,
        'seed': self.examples.seed,
        'threat': list(run.threat),
        **settings,
      },
      measure_arrays,
    )

  def measured_json(
    self, run: runs.Run, name: str, measure_json: Callable[[], Any], **settings
  ) -> Any:
    """Does the same as `measured` for content that JSON can hold."""
    arrays = self.measured(
      run,
      name,
      lambda: {'json': np.array(json.dumps(measure_json()))},
      **settings,
    )
    return json.loads(str(arrays['json']))

  def clean_and_attacked(self, run: runs.Run) -> dict[str, np.ndarray]:
    """Returns images attacked by PGD, and the network's outputs on them.

    Args:
      run: the run whose network is attacked.

    Returns:
      As of `measure.clean_and_attacked`.
    """
    return self.measured(
      run,
      'pictures',
      lambda: measure.clean_and_attacked(
        run.net, self.examples, run.threat, steps=STEPS
      ),
      n=len(self.examples.labels),
    )
