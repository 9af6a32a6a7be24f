"""Runs, images, and what was measured of them: what sections are made of."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from peeraid_jax.data import facts
from peeraid_jax.report import measure, runs, theme
from peeraid_jax.report import store as store_lib

# Steps of PGD, where nothing else is said.
STEPS = 20


class Section(NamedTuple):
  """Some figures under a heading.

  Attributes:
    title: the heading.
    text: what they show, and how to read it.
    panels: the figures.
  """

  title: str
  text: str
  panels: list[theme.Panel]


class Scene:
  """Runs, images, and what was measured of them.

  Args:
    opened: runs; the report is of the first.
    points: test images.
    kept: measurements so far.
    size: points along each direction of a landscape.
  """

  def __init__(
    self,
    opened: Sequence[runs.Run],
    points: measure.Points,
    kept: store_lib.Store,
    *,
    size: int,
  ):
    self.runs, self.points, self._kept = opened, points, kept
    self.first, self.size = opened[0], size
    self.names = facts.class_names(self.first.config.data)

  def few(self, count: int) -> measure.Points:
    """The first so many points."""
    images, labels, seed = self.points
    return measure.Points(images[:count], labels[:count], seed)

  def told(
    self,
    count: int | None = None,
    attack: str = '',
    run: runs.Run | None = None,
  ) -> str:
    """Data, number of images, settings and network, as a caption begins."""
    found = f'{self.first.config.data.name}, first '
    found += f'{count or len(self.points.labels)} test images'
    if attack:
      found += f'; {attack}, {self.pgd}'
    return f'{found}; {self.first.role} of {run.label if run else "each run"}.'

  @property
  def commits(self) -> set[str]:
    """Of the code that measured."""
    return self._kept.commits

  @property
  def ball(self) -> str:
    """The threat model in words."""
    epsilon, _, norm = self.first.threat
    if norm == 'Linf':
      return f'Linf, epsilon {255 * epsilon:g}/255'
    return f'{norm}, epsilon {epsilon:g}'

  @property
  def pgd(self) -> str:
    """The threat model and the length of PGD's steps."""
    step = self.first.threat.step_size
    if self.first.threat.norm == 'Linf':
      return f'{self.ball}, steps of {255 * step:g}/255'
    return f'{self.ball}, steps of {step:g}'

  def get_json(self, run: runs.Run, name: str, make, **settings):
    """As `get`, of JSON."""
    found = self.get(
      run, name, lambda: {'json': np.array(json.dumps(make()))}, **settings
    )
    return json.loads(str(found['json']))

  def get(self, run: runs.Run, name: str, make, **settings):
    """What was measured of a run, or is measured now."""
    of = {
      'source': run.sources[run.role],
      'workdir': str(run.workdir.resolve()),
      'role': run.role,
      'seed': self.points.seed,
      'threat': list(run.threat),
      **settings,
    }
    return self._kept.get(f'{run.label.replace("/", "_")}-{name}', of, make)

  def pictures(self, run: runs.Run) -> dict[str, np.ndarray]:
    """Attacked images of a run's network, and what it says of them."""
    return self.get(
      run,
      'pictures',
      lambda: measure.pictures(run.net, self.points, run.threat, steps=STEPS),
      n=len(self.points.labels),
    )
