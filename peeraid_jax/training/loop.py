"""The loop: restore, step, log, evaluate, save. Nothing numerical."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from peeraid_jax.data import fingerprint
from peeraid_jax.runtime import interrupts, metrics_log, parallel, progress
from peeraid_jax.training import (
  averaging,
  build,
  checkpoint,
  divergence,
  feed,
  log,
  resuming,
  teachers,
)
from peeraid_jax.training import step as step_lib

# (state, tick) -> scalars of the selection set, with '<role>/<attack>' names
Selection = Callable[..., dict[str, float]]


def initial_state(
  plan: build.Plan, workdir
) -> tuple[step_lib.State, dict[str, Any]]:
  """Builds the first state; some networks may come from earlier runs.

  Returns:
    (state on the devices, role -> where its network comes from), as
    `teachers.load` does.

  Raises:
    FileNotFoundError, ValueError: as of `teachers.load`.
  """
  state, sources = teachers.load(plan, workdir, build.initial_state(plan))
  return parallel.replicate(state), sources


def _checking(signals: interrupts.Interrupts, batches: Iterator[Any]):
  """Yields batches, and looks for signals before each of them."""
  for batch in batches:
    signals.check_together()
    yield batch


class _Trainer:
  """One run between a restored state and its end."""

  def __init__(self, plan: build.Plan, workdir, data, select: Selection):
    self.plan, self.config, self.workdir = plan, plan.config, workdir
    self.data, self.select = data, select
    self.step_fn = step_lib.map_train_step(build.train_step(plan))
    self.reestimate = averaging.make_reestimate(plan.augmentation)
    self.resident = parallel.replicate(build.resident(plan, data))
    key = jax.random.key(plan.config.seed)
    self.train_key = jax.random.fold_in(key, feed.TRAINING)
    self.averaging_key = jax.random.fold_in(key, feed.AVERAGING)
    self._epoch: int | None = None
    self._batches: Iterator[Any] = iter(())

  def save(self, state, meta, *, which: str = 'latest') -> None:
    """Saves a state, unless training has diverged."""
    divergence.check(state)
    checkpoint.save(self.workdir, state, meta, which=which)

  def averaged(self, state, epoch: int, signals):
    """Adds the student to its average and re-estimates batch norm."""
    settings = self.config.swa
    if not settings.enabled or epoch < settings.start_epoch:
      return state
    student, mean = state.nets['student'], state.nets['student_swa']
    net = mean.replace(
      params=averaging.average(mean.params, student.params, state.swa_count)
    )
    batches = feed.feed(self.config, self.data, epoch, feed.AVERAGING)
    net = self.reestimate(
      net,
      _checking(signals, batches),
      self.resident,
      jax.random.fold_in(self.averaging_key, epoch),
    )
    return state.replace(
      nets={**state.nets, 'student_swa': net}, swa_count=state.swa_count + 1
    )

  def end_epoch(self, state, meta, epoch: int, records: log.Log, signals):
    """Averages, evaluates and keeps the best; returns (state, meta)."""
    state = parallel.replicate(self.averaged(state, epoch, signals))
    last = epoch + 1 == self.config.train.epochs
    meta = {**meta, 'epoch_ended': True}
    if (epoch + 1) % self.config.eval.every_epochs and not last:
      return state, meta
    scalars = self.select(state, signals.check)
    step = int(state.step)
    records.epoch(step, epoch + 1, scalars)
    attack = self.config.eval.select_attack
    best = dict(meta['best'])
    for role, which in (('student', 'best'), ('student_swa', 'best_swa')):
      score = scalars.get(f'select/{role}/{attack}')
      if score is not None and score > best.get(which, {}).get('score', -1):
        best[which] = {'score': score, 'step': step, 'epoch': epoch + 1}
        self.save(state, {**meta, 'best': best}, which=which)
    return state, {**meta, 'best': best}

  def one_step(self, state, epoch: int, within: int):
    """Takes step `within` of an epoch; returns (state, metrics)."""
    if self._epoch != epoch:
      self._epoch = epoch
      self._batches = feed.feed(
        self.config, self.data, epoch, feed.TRAINING, within
      )
    state, metrics = self.step_fn(
      state, next(self._batches), self.resident, self.train_key
    )
    if parallel.must_block():
      jax.block_until_ready(metrics)
    return state, metrics

  def all_steps(self, state, meta, records: log.Log, signals) -> None:
    """Takes all steps that are left."""
    step = int(state.step)
    every = self.config.train.checkpoint_every_steps
    try:
      while True:
        epoch, within = divmod(step, self.plan.steps_per_epoch)
        if within == 0 and step > 0 and not meta['epoch_ended']:
          records.flush()
          state, meta = self.end_epoch(state, meta, epoch - 1, records, signals)
          self.save(state, meta)
          records.restart_clock(step)
        if step == self.plan.total_steps:
          return
        signals.check_together()
        state, metrics = self.one_step(state, epoch, within)
        step += 1
        meta = {**meta, 'epoch_ended': False}
        records.add(step, metrics)
        if every and step % every == 0 and step % self.plan.steps_per_epoch:
          records.flush()
          self.save(state, meta)
    except interrupts.Interrupted:
      # Between steps; or inside an epoch's end, which is then repeated.
      records.flush()
      if checkpoint.latest_step(self.workdir) != step:
        self.save(state, meta)
      progress.say(
        f'saved at step {step} of {self.plan.total_steps}; the same command '
        'goes on'
      )
      raise


def _begin(plan: build.Plan, workdir, data):
  """Returns the state to go on from, and its meta: restored or initial."""
  found = fingerprint.of(data)
  resumed = resuming.resumed(workdir, found)
  if resumed is not None:
    return resumed
  state, sources = initial_state(plan, workdir)
  meta = {'epoch_ended': False, 'best': {}, 'data': found, 'teachers': sources}
  return state, meta


def train(plan: build.Plan, workdir, data, select: Selection) -> None:
  """Trains from the latest checkpoint, or from the start, to the end.

  Args:
    plan: of the run.
    workdir: of the run; checkpoints, metrics and events go there.
    data: the training `Dataset`.
    select: (state, tick) -> scalars on the selection set.

  Raises:
    interrupts.Interrupted: after a signal, when the state is saved.
    FloatingPointError: training has diverged: a loss, a gradient or a weight
      is not finite or too large. Says what helps.
    ValueError: the images are not those that the run began with, or a
      streamed one does not decode; names its file.
  """
  for note in log.notes(plan):
    progress.say(f'note: {note}')
  state, meta = _begin(plan, workdir, data)
  step = int(state.step)
  trainer = _Trainer(plan, workdir, data, select)
  writer: metrics_log.Writer | metrics_log.NullWriter
  writer = metrics_log.NullWriter()
  if jax.process_index() == 0:
    writer = metrics_log.Writer(workdir, step=step)
  records = log.Log(plan, writer, step=step)
  with interrupts.Interrupts() as signals:
    try:
      trainer.all_steps(state, meta, records, signals)
    except FloatingPointError as error:
      advice = divergence.advice(plan, workdir)
      raise FloatingPointError(f'{error}. {advice}') from error
    finally:
      records.close()
      writer.close()
