"""Runs the attacks in order, on the points still robust, and saves progress."""

import time
from typing import Any, NamedTuple

import numpy as np

from peeraid_jax.autoattack import identity, suite

# Codes of outcomes; 2 + i means broken by the i-th attack.
ROBUST, MISCLASSIFIED, _FIRST_ATTACK = 0, 1, 2
# Largest share of points that one network classifies correctly on one device
# and not on another.
_OTHER_PREDICTIONS = 0.005


class Progress(NamedTuple):
  """The progress of an evaluation.

  Attributes:
    attack: that is running; 'clean' before the first.
    stage: of the attack, from 0.
    stages: number of stages of the attack.
    done: points that are done in the stage; a fraction counts a batch that is
      partly done.
    total: points of the stage.
    passes_left: forward and backward passes, of one point each, until the end
      if no further point breaks.
  """

  attack: str
  stage: int
  stages: int
  done: float
  total: int
  passes_left: float


class Driver:
  """One evaluation: the outcome of each point, and what runs next.

  Args:
    engine: an `Engine`.
    attacks: names, in order.
    store: a `Store`, with the progress before an interruption if there was
      one.
    tick: called with a `Progress`, or None.

  Attributes:
    outcome: int [N], 0 robust, 1 misclassified, 2 + i broken by attack i.
    progress: counts and the position in the plan, as JSON.
  """

  def __init__(self, engine, attacks, store, tick):
    self.engine, self.attacks, self.store = engine, attacks, store
    self._tick = tick or (lambda progress: None)
    count = len(engine.labels)
    self._earlier_seconds, self._started = 0.0, time.monotonic()
    self.progress: dict[str, Any] = {
      'outcome': [ROBUST] * count,
      # The number of points that are classified correctly.
      'clean': None,
      'accuracy_after': {},
      # What identifies the network (`identity`); None if an earlier version
      # saved the state, which did not note it.
      'label_logits': None,
      # Checksum of the adversarial images of broken points; None as above.
      'images_code': 0,
      # The number of the attack and the stage that are running, and the
      # points that are left in the stage.
      'attack': 0,
      'stage': 0,
      'pending': None,
      'zero_gradients': 0,
      'not_finite': [],
      'unconfirmed': 0,
    }
    if store.saved is not None:
      self.progress['images_code'] = None
      self.progress.update(store.saved['progress'])
      self._earlier_seconds = store.saved['seconds']
    self.outcome = np.array(self.progress['outcome'])

  @property
  def seconds(self) -> float:
    """Duration so far, including the time before interruptions."""
    return self._earlier_seconds + time.monotonic() - self._started

  def _report(self, name: str, stage: int, done: float, total: int) -> None:
    """Calls `tick` with the progress within a stage."""
    settings = self.engine.settings
    stages = 1 if name == 'clean' else suite.stages(name, settings)
    points_left = total - done + total * (stages - stage - 1)
    passes = points_left * suite.passes(name, settings)
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
    """Adds points whose logits are NaN or infinite to the progress."""
    points = {*self.progress['not_finite'], *(int(r) for r in rows)}
    self.progress['not_finite'] = sorted(points)

  def clean_pass(self) -> dict[str, str]:
    """Classifies the clean images; returns flags.

    It runs again after an interruption: this costs little, and tells whether
    the network is the one that the evaluation began with.

    Raises:
      ValueError: it is another network, or saved images are damaged.
    """
    correct = np.zeros(len(self.outcome), bool)
    label_logits = np.zeros(len(self.outcome), np.float32)
    points = np.arange(len(self.outcome))
    for rows in self.engine.batches(points):
      self._report('clean', 0, int(rows[0]), len(points))
      predicted, finite, label_logits[rows] = self.engine.predict(rows)
      correct[rows] = predicted == self.engine.labels[rows]
      self._note_not_finite(rows[~finite])
    if self.progress['clean'] is not None:
      return self._check_saved(correct, label_logits)
    self.outcome[~correct] = MISCLASSIFIED
    self.progress['clean'] = int(correct.sum())
    self.progress['label_logits'] = identity.rounded(label_logits)
    self._save()
    return {}

  def _check_saved(self, correct, label_logits) -> dict[str, str]:
    """Checks that saved progress is that of this network; returns flags.

    Args:
      correct: bool [N], which clean images are classified correctly.
      label_logits: float32 [N], logits of the labels.

    Raises:
      ValueError: it is another network, or saved images are damaged.
    """
    flags = {}
    saved = self.progress['label_logits']
    if saved is None:
      others = np.mean((self.outcome == MISCLASSIFIED) == correct)
      same, compared = others <= _OTHER_PREDICTIONS, 'clean predictions'
      flags['network_not_compared'] = (
        'An earlier version of this package began the evaluation, and noted '
        'only which points the network classifies correctly: '
        f'{100 * others:.2f} % of them are others now.'
      )
    else:
      same, compared = identity.is_same(saved, label_logits), 'clean logits'
    if not same:
      self.store.refuse(f'is the state of another network: other {compared}')
    broken = np.flatnonzero(self.outcome >= _FIRST_ATTACK)
    code = self.progress['images_code']
    if code is not None and code != self.store.code(broken):
      self.store.refuse('has adversarial images that are damaged')
    # Images that were written just before a kill, and are not listed.
    self.store.forget(np.flatnonzero(self.outcome < _FIRST_ATTACK))
    if self.progress['clean'] != int(correct.sum()):
      flags['clean_accuracy_changed'] = (
        f'{self.progress["clean"]} points were classified correctly before '
        f'the evaluation was interrupted, and now {int(correct.sum())}: the '
        'numerics of the machine changed.'
      )
    return flags

  def _attack_batch(self, name: str, stage: int, rows, tick) -> None:
    """Attacks one batch and records the outcome.

    Args:
      name: of the attack.
      stage: of the attack.
      rows: int [B], of the points.
      tick: called with the share of the batch that is done.
    """
    candidates, zero_gradient = self.engine.attack(name, stage, rows, tick)
    moved = (candidates != self.engine.images[rows]).any(axis=(1, 2, 3))
    predicted, finite, _ = self.engine.predict(rows, candidates)
    wrong = predicted != self.engine.labels[rows]
    broken = wrong & self.engine.inside(rows, candidates)
    self._note_not_finite(rows[~finite])
    if stage == 0:
      self.progress['zero_gradients'] += int(zero_gradient.sum())
    # Square returns its best image even if it is classified correctly; all
    # other attacks return the clean image then.
    if name != 'square':
      self.progress['unconfirmed'] += int((moved & ~broken).sum())
    self.store.adversarial[rows[broken]] = candidates[broken]
    if self.progress['images_code'] is not None:
      self.progress['images_code'] ^= self.store.code(rows[broken])
    self.outcome[rows[broken]] = _FIRST_ATTACK + self.progress['attack']

  def _run_stage(self, name: str, stage: int) -> None:
    """Attacks the points that are left in a stage, batch by batch."""
    if self.progress['pending'] is None:
      robust = np.flatnonzero(self.outcome == ROBUST)
      self.progress['pending'] = robust.tolist()
    pending = np.array(self.progress['pending'], int)
    total = len(pending)
    for rows in self.engine.batches(pending):
      done = total - len(self.progress['pending'])

      def tick(share, done=done, rows=rows):
        self._report(name, stage, done + share * len(rows), total)

      tick(0.0)
      self._attack_batch(name, stage, rows, tick)
      self.progress['pending'] = self.progress['pending'][len(rows) :]
      self._save()

  def attack_all(self) -> None:
    """Runs the attacks in order, from where they were interrupted."""
    count = len(self.outcome)
    while self.progress['attack'] < len(self.attacks):
      name = self.attacks[self.progress['attack']]
      stages = suite.stages(name, self.engine.settings)
      if not (self.outcome == ROBUST).any() and self.progress['stage'] == 0:
        break
      while self.progress['stage'] < stages:
        self._run_stage(name, self.progress['stage'])
        self.progress['stage'] += 1
        self.progress['pending'] = None
      robust = int((self.outcome == ROBUST).sum())
      self.progress['accuracy_after'][name] = robust / count
      self.progress['attack'] += 1
      self.progress['stage'] = 0
      self._save()
