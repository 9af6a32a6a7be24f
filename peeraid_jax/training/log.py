"""Metrics of the training loop: averaged, checked, written and shown."""

import math
import time
from typing import Any

import jax

from peeraid_jax.runtime import progress
from peeraid_jax.training import build, optimizers, schedules


def notes(plan: build.Plan) -> list[str]:
  """Returns remarks on settings of a run that have no effect."""
  return [
    note
    for role in plan.optimizers
    for part in (optimizers, schedules)
    for note in part.notes(plan.config.optimizer[role], role=role)
  ]


class Log:
  """Averages metrics between two records.

  Metrics are fetched one step late and in one transfer, so that the host does
  not wait for the device.

  Args:
    plan: of the run.
    writer: `metrics_log.Writer`, or one that writes nothing.
    step: at which the run begins or goes on.
  """

  def __init__(self, plan: build.Plan, writer, *, step: int):
    self._batch_size = plan.config.train.batch_size
    self._every = plan.config.train.log_every_steps
    self._total = plan.total_steps
    self._schedules = plan.schedules
    self._writer = writer
    self._progress = progress.Progress(
      total=plan.total_steps, step=step, batch_size=self._batch_size
    )
    # Step and metrics that are still on the device.
    self._pending: tuple[int, Any] | None = None
    self._sums: dict[str, float] = {}
    self._count = 0
    self.restart_clock(step)

  def restart_clock(self, step: int) -> None:
    """Restarts the throughput clock."""
    self._clock_step, self._clock_time = step, time.monotonic()

  def flush(self) -> None:
    """Fetches the metrics that are still on the device.

    Raises:
      FloatingPointError: a loss or a gradient is not finite.
    """
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    scalars = {k: float(v) for k, v in jax.device_get(metrics).items()}
    not_finite = [k for k, v in scalars.items() if not math.isfinite(v)]
    if not_finite:
      raise FloatingPointError(
        f'step {step}: {", ".join(sorted(not_finite))} not finite'
      )
    for name, value in scalars.items():
      self._sums[name] = self._sums.get(name, 0.0) + value
    self._count += 1

  def add(self, step: int, metrics) -> None:
    """Counts a step; at the end of an interval, writes the means.

    Args:
      step: steps taken.
      metrics: name -> scalar on the device.
    """
    self.flush()
    self._pending = (step, metrics)
    self._progress.advance()
    if step % self._every and step != self._total:
      return
    self.flush()
    scalars = {k: v / self._count for k, v in self._sums.items()}
    self._sums, self._count = {}, 0
    seconds = max(time.monotonic() - self._clock_time, 1e-9)
    images = (step - self._clock_step) * self._batch_size
    scalars['images_per_second'] = images / seconds
    for role, rate in self._schedules.items():
      scalars[f'{role}/learning_rate'] = float(rate(step - 1))
    self._writer.write(step, scalars)
    self._progress.report(step, scalars)
    self.restart_clock(step)

  def epoch(self, step: int, epoch: int, scalars: dict[str, float]) -> None:
    """Writes the accuracies at the end of an epoch.

    Args:
      step: steps taken.
      epoch: counted from 1.
      scalars: name -> accuracy on the selection set.
    """
    self._writer.write(step, {'epoch': epoch, **scalars})
    text = ', '.join(f'{k} {v:.4f}' for k, v in scalars.items())
    progress.say(f'epoch {epoch}: {text}')

  def close(self) -> None:
    """Ends the progress bar."""
    self._progress.close()
