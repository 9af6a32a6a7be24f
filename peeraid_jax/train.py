"""The loop: restore, step, log, evaluate, save. Nothing numerical."""

import functools
import math
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from peeraid_jax import (
  build,
  checkpoint,
  interrupts,
  metrics,
  parallel,
  swa,
  teachers,
)
from peeraid_jax import step as step_lib
from peeraid_jax.data import batches, stored

# (state, tick) -> scalars of the selection set, with '<role>/<attack>' names
Selection = Callable[..., dict[str, float]]

# Seeds of random streams that must not meet.
_TRAIN_STREAM, _SWA_STREAM = 0, 1


def initial_state(
  config: ml_collections.ConfigDict, workdir
) -> tuple[step_lib.State, dict[str, Any]]:
  """Builds the first state; some networks may come from earlier runs.

  Returns:
    (state, where those networks come from), as `teachers.load` does.

  Raises:
    FileNotFoundError, ValueError: as of `teachers.load`.
  """
  state, told = teachers.load(config, workdir, build.state(config))
  return parallel.replicate(state), told


def _fingerprint(data) -> dict[str, int]:
  """What tells that a run goes on with the images that it began with."""
  labels = np.ascontiguousarray(data.labels)
  return {'examples': len(labels), 'labels_crc32': zlib.crc32(labels)}


class _Log:
  """Metrics since the last record; fetched one step late, in one piece."""

  def __init__(self, config, writer, schedules, *, total: int, step: int):
    self._batch = config.train.batch_size
    self._every, self._total = config.train.log_every_steps, total
    self._writer, self._schedules = writer, schedules
    self._progress = metrics.Progress(
      total=total, step=step, batch_size=self._batch
    )
    self._waiting: tuple[int, Any] | None = None
    self._sums: dict[str, float] = {}
    self._count = 0
    self.restart_clock(step)

  def restart_clock(self, step: int) -> None:
    """Leaves what took place until now out of images per second."""
    self._since, self._begun = step, time.monotonic()

  def flush(self) -> None:
    """Fetches what is waiting.

    Raises:
      FloatingPointError: a loss or a gradient is not finite.
    """
    if self._waiting is None:
      return
    step, values = self._waiting
    self._waiting = None
    values = {k: float(v) for k, v in jax.device_get(values).items()}
    bad = [k for k, v in values.items() if not math.isfinite(v)]
    if bad:
      raise FloatingPointError(
        f'step {step}: {", ".join(sorted(bad))} not finite. The checkpoint '
        'before it is kept; try a smaller learning rate or '
        'config.optimizer.<role>.warmup_epochs.'
      )
    for name, value in values.items():
      self._sums[name] = self._sums.get(name, 0.0) + value
    self._count += 1

  def add(self, step: int, values) -> None:
    """Counts a step; at the end of an interval, writes its means."""
    self.flush()
    self._waiting = (step, values)
    self._progress.advance()
    if step % self._every and step != self._total:
      return
    self.flush()
    scalars = {k: v / self._count for k, v in self._sums.items()}
    self._sums, self._count = {}, 0
    seconds = max(time.monotonic() - self._begun, 1e-9)
    images = (step - self._since) * self._batch
    scalars['images_per_second'] = images / seconds
    for role, rate in self._schedules.items():
      scalars[f'{role}/learning_rate'] = float(rate(step - 1))
    self._writer.write(step, scalars)
    self._progress.report(step, scalars)
    self.restart_clock(step)

  def epoch(self, step: int, epoch: int, scalars: dict[str, float]) -> None:
    """Writes what was found at the end of an epoch (counted from 1)."""
    self._writer.write(step, {'epoch': epoch, **scalars})
    found = ', '.join(f'{k} {v:.4f}' for k, v in scalars.items())
    metrics.say(f'epoch {epoch}: {found}')

  def close(self) -> None:
    """Ends the progress bar."""
    self._progress.close()


class _Trainer:
  """One run between a restored state and its end."""

  def __init__(self, config, workdir, data, select):
    self.config, self.workdir, self.select = config, workdir, select
    size = config.train.batch_size
    self.data = data
    self.examples = len(data.labels)
    self.per_epoch = build.steps_per_epoch(self.examples, size)
    self.total = self.per_epoch * config.train.epochs
    self.schedules = build.schedules(config, self.per_epoch)
    self.step_fn = step_lib.compile_train_step(
      build.train_step(config, self.per_epoch)
    )
    self.reestimate = swa.make_reestimate(
      padding=config.data.padding, flip=config.data.flip
    )
    self.resident = parallel.replicate(build.resident(config, data))
    key = jax.random.key(config.seed)
    self.train_key = jax.random.fold_in(key, _TRAIN_STREAM)
    self.swa_key = jax.random.fold_in(key, _SWA_STREAM)
    self._epoch, self._feed = None, iter(())
    # Several processes ask each other for signals at these steps.
    self._meet = config.train.log_every_steps

  def feed(
    self, epoch: int, stream: int, start: int = 0
  ) -> Iterator[batches.Rows | batches.Streamed]:
    """Yields this process's part of an epoch's batches, from `start` on."""
    config = self.config
    size = config.train.batch_size
    order = batches.epoch_order(
      config.seed, epoch, self.examples, size, stream=stream
    )
    # Batch norm is estimated again on whole batches.
    parts = config.train.microbatches if stream == _TRAIN_STREAM else 1
    split = functools.partial(parallel.split, parts=parts)
    place = split(np.arange(size, dtype=np.int32))
    if not config.data.stream:
      for row in order[start:]:
        yield batches.Rows(split(row), place)
      return
    crop = None
    if config.data.crop == 'resized':
      seed = (config.seed, epoch, stream)
      crop = stored.Crop(tuple(config.data.crop_area), seed)
    mine = order[:, place.reshape(-1)]
    read = self.data.images.batches(
      mine, crop=crop, start=start, places=place.reshape(-1)
    )
    for row, images in zip(mine[start:], read, strict=True):
      yield batches.Streamed(
        images.reshape(*place.shape, *images.shape[1:]),
        self.data.labels[row].reshape(place.shape),
        place,
      )

  def averaged(self, state, epoch: int):
    """Adds the student to its average and re-estimates batch norm."""
    settings = self.config.swa
    if not settings.enabled or epoch < settings.start_epoch:
      return state
    student, mean = state.nets['student'], state.nets['student_swa']
    net = mean.replace(
      params=swa.average(mean.params, student.params, state.swa_count)
    )
    net = self.reestimate(
      net,
      self.feed(epoch, _SWA_STREAM),
      self.resident,
      jax.random.fold_in(self.swa_key, epoch),
    )
    return state.replace(
      nets={**state.nets, 'student_swa': net}, swa_count=state.swa_count + 1
    )

  def end_epoch(self, state, meta, epoch: int, log, tick):
    """Averages, evaluates and keeps the best; returns (state, meta)."""
    state = parallel.replicate(self.averaged(state, epoch))
    last = epoch + 1 == self.config.train.epochs
    meta = {**meta, 'epoch_ended': True}
    if (epoch + 1) % self.config.eval.every_epochs and not last:
      return state, meta
    scalars = self.select(state, tick)
    step = int(state.step)
    log.epoch(step, epoch + 1, scalars)
    attack = self.config.eval.select_attack
    best = dict(meta['best'])
    for role, which in (('student', 'best'), ('student_swa', 'best_swa')):
      score = scalars.get(f'select/{role}/{attack}')
      if score is not None and score > best.get(which, {}).get('score', -1):
        best[which] = {'score': score, 'step': step, 'epoch': epoch + 1}
        saved = {**meta, 'best': best}
        checkpoint.save(self.workdir, state, saved, which=which)
    return state, {**meta, 'best': best}

  def one_step(self, state, epoch: int, within: int):
    """Takes the given step of an epoch; returns (state, metrics)."""
    if self._epoch != epoch:
      self._epoch = epoch
      self._feed = self.feed(epoch, _TRAIN_STREAM, within)
    state, values = self.step_fn(
      state, next(self._feed), self.resident, self.train_key
    )
    if parallel.must_block():
      jax.block_until_ready(values)
    return state, values

  def steps(self, state, meta, log, signals) -> None:
    """Takes all steps that are left."""
    step = int(state.step)
    every = self.config.train.checkpoint_every_steps
    try:
      while True:
        epoch, within = divmod(step, self.per_epoch)
        if within == 0 and step > 0 and not meta['epoch_ended']:
          log.flush()
          state, meta = self.end_epoch(
            state, meta, epoch - 1, log, signals.check
          )
          checkpoint.save(self.workdir, state, meta, which='latest')
          log.restart_clock(step)
        if step == self.total:
          return
        if jax.process_count() == 1 or step % self._meet == 0:
          signals.check_together()
        state, values = self.one_step(state, epoch, within)
        step += 1
        meta = {**meta, 'epoch_ended': False}
        log.add(step, values)
        if every and step % every == 0 and step % self.per_epoch:
          log.flush()
          checkpoint.save(self.workdir, state, meta, which='latest')
    except interrupts.Interrupted:
      # Between steps, or inside an epoch's end, which is then begun again.
      log.flush()
      if checkpoint.latest_step(self.workdir) != step:
        checkpoint.save(self.workdir, state, meta, which='latest')
      metrics.say(
        f'saved at step {step} of {self.total}; the same command goes on'
      )
      raise


def train(
  config: ml_collections.ConfigDict, workdir, data, select: Selection
) -> None:
  """Trains from the latest checkpoint, or from the start, to the end.

  Args:
    config: validated.
    workdir: of the run; checkpoints, metrics and events go there.
    data: the training `Dataset`.
    select: (state, tick) -> scalars on the selection set.

  Raises:
    interrupts.Interrupted: after a signal, when the state is saved.
    FloatingPointError: a loss is not finite.
    ValueError: the images are not those that the run began with, or a
      streamed one does not decode; names its file.
  """
  meta: dict[str, Any] = {
    'epoch_ended': False,
    'best': {},
    'data': _fingerprint(data),
  }
  if checkpoint.latest_step(workdir) is None:
    state, meta['teachers'] = initial_state(config, workdir)
  else:
    state, meta = checkpoint.restore_with_meta(workdir, repair=True)
    metrics.say(f'resuming from step {int(state.step)}')
    if meta.setdefault('data', _fingerprint(data)) != _fingerprint(data):
      raise ValueError(
        f'{workdir} was trained on other images until now: '
        f'{meta["data"]["examples"]} of them, here are {len(data.labels)}, or '
        'their classes differ. Bring them back, or name another work '
        'directory with --workdir=DIR'
      )
  step = int(state.step)
  trainer = _Trainer(config, workdir, data, select)
  writer = metrics.Silent()
  if jax.process_index() == 0:
    writer = metrics.Writer(workdir, step=step)
  log = _Log(config, writer, trainer.schedules, total=trainer.total, step=step)
  with interrupts.Interrupts() as signals:
    try:
      trainer.steps(state, meta, log, signals)
    finally:
      log.close()
      writer.close()
