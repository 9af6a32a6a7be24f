"""The order of things: stages, the points left in them, what is saved when."""

import time
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.attacks import suite


class Progress(NamedTuple):
  """How far an evaluation is.

  Attributes:
    attack: under way; 'clean' before the first.
    stage: of the attack, from 0.
    stages: how many it has.
    done: points done in the stage; those of a batch that is under way count
      by its share.
    total: points of the stage.
    passes_left: forward and backward passes until the end, one point each, if
      no further point breaks.
  """

  attack: str
  stage: int
  stages: int
  done: float
  total: int
  passes_left: float


class Driver:
  """One evaluation: what has become of the points, and what is next.

  Args:
    engine: an `Engine`.
    attacks: in order.
    store: a `Store`, perhaps with what was done before an interruption.
    tick: called with a `Progress`; None for nobody.

  Attributes:
    outcome: int [N], 0 robust, 1 misclassified, 2 + i broken by attack i.
    progress: counts, and where the evaluation is; as JSON.
  """

  def __init__(self, engine, attacks, store, tick):
    self.engine, self.attacks, self.store = engine, attacks, store
    self._tick = tick or (lambda progress: None)
    count = len(engine.labels)
    self.before, self.begun = 0.0, time.monotonic()
    self.progress: dict[str, Any] = {
      'outcome': [0] * count,
      'clean': None,
      'accuracy_after': {},
      # Of the stage that is under way: attack, its stage, points to do.
      'attack': 0,
      'stage': 0,
      'pending': None,
      'zero_gradients': 0,
      'not_finite': [],
      'unconfirmed': 0,
    }
    if store.saved is not None:
      self.progress.update(store.saved['progress'])
      self.before = store.saved['seconds']
    self.outcome = np.array(self.progress['outcome'])

  @property
  def seconds(self) -> float:
    """Spent so far, over all resumptions."""
    return self.before + time.monotonic() - self.begun

  def _tell(self, name: str, stage: int, done: float, total: int) -> None:
    """Reports progress within a stage."""
    settings = self.engine.settings
    stages = 1 if name == 'clean' else suite.stages(name, settings)
    left = total - done + total * (stages - stage - 1)
    passes = left * suite.passes(name, settings)
    later = self.attacks
    if name != 'clean':
      later = self.attacks[self.progress['attack'] + 1 :]
    for other in later:
      work = suite.stages(other, settings) * suite.passes(other, settings)
      passes += total * work
    self._tick(Progress(name, stage, stages, done, total, passes))

  def _save(self) -> None:
    self.progress['outcome'] = self.outcome.tolist()
    self.store.write({'progress': self.progress, 'seconds': self.seconds})

  def _note_not_finite(self, rows) -> None:
    known = {*self.progress['not_finite'], *(int(r) for r in rows)}
    self.progress['not_finite'] = sorted(known)

  def clean_pass(self) -> dict[str, str]:
    """Classifies the points as they are; returns flags.

    After a resumption it is repeated: it costs little, and shows whether the
    network is still the one that was evaluated.
    """
    right = np.zeros(len(self.outcome), bool)
    points = np.arange(len(self.outcome))
    for rows in self.engine.batches(points):
      self._tell('clean', 0, int(rows[0]), len(points))
      predicted, finite = self.engine.predict(rows)
      right[rows] = predicted == self.engine.labels[rows]
      self._note_not_finite(rows[~finite])
    flags = {}
    if self.progress['clean'] is None:
      self.outcome[~right] = 1
      self.progress['clean'] = int(right.sum())
      self._save()
    elif self.progress['clean'] != int(right.sum()):
      flags['clean_accuracy_changed'] = (
        f'{self.progress["clean"]} points were classified correctly before '
        f'the evaluation was interrupted, and now {int(right.sum())}: the '
        'network, or the numerics of the machine, changed.'
      )
    return flags

  def _stage(self, name: str, stage: int) -> None:
    """Attacks what is pending in a stage, batch by batch."""
    number = self.progress['attack']
    if self.progress['pending'] is None:
      self.progress['pending'] = np.flatnonzero(self.outcome == 0).tolist()
    pending = np.array(self.progress['pending'], int)
    total = len(pending)
    for rows in self.engine.batches(pending):
      done = total - len(self.progress['pending'])

      def tick(share, done=done, rows=rows):
        now = done + share * len(rows)
        self._tell(name, stage, now, total)

      tick(0.0)
      candidates, zero = self.engine.attack(name, stage, rows, tick)
      moved = (candidates != self.engine.images[rows]).any(axis=(1, 2, 3))
      predicted, finite = self.engine.predict(rows, candidates)
      wrong = predicted != self.engine.labels[rows]
      broken = wrong & self.engine.inside(rows, candidates)
      self._note_not_finite(rows[~finite])
      if stage == 0:
        self.progress['zero_gradients'] += int(zero.sum())
      # Square hands back its best image, whether it fools or not.
      if name != 'square':
        self.progress['unconfirmed'] += int((moved & ~broken).sum())
      self.store.adversarial[rows[broken]] = candidates[broken]
      self.outcome[rows[broken]] = 2 + number
      left = self.progress['pending'][len(rows) :]
      self.progress['pending'] = left
      self._save()

  def attack_all(self) -> None:
    """Runs the attacks in order, from where they were interrupted."""
    count = len(self.outcome)
    while self.progress['attack'] < len(self.attacks):
      name = self.attacks[self.progress['attack']]
      stages = suite.stages(name, self.engine.settings)
      if not (self.outcome == 0).any() and self.progress['stage'] == 0:
        break
      while self.progress['stage'] < stages:
        self._stage(name, self.progress['stage'])
        self.progress['stage'] += 1
        self.progress['pending'] = None
      robust = int((self.outcome == 0).sum())
      self.progress['accuracy_after'][name] = robust / count
      self.progress['attack'] += 1
      self.progress['stage'] = 0
      self._save()
