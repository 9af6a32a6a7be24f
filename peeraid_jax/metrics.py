"""What a run tells while it trains: JSON lines, TensorBoard, the terminal."""

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import tqdm


def read(workdir) -> list[dict[str, Any]]:
  """Returns the records of a run, up to one that is damaged or cut off."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  records = []
  if path.exists():
    for line in path.read_text(errors='replace').splitlines():
      try:
        record = json.loads(line)
      except ValueError:
        break
      if not isinstance(record, dict) or not isinstance(
        record.get('step'), int
      ):
        break
      records.append(record)
  return records


class Writer:
  """Appends scalars to `metrics.jsonl` and to TensorBoard events.

  Args:
    workdir: of the run.
    step: where the run goes on; later records of a run that was killed are
      dropped, its steps are taken again.
  """

  def __init__(self, workdir, *, step: int):
    path = pathlib.Path(workdir) / 'metrics.jsonl'
    kept = [record for record in read(workdir) if record['step'] <= step]
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(json.dumps(r) + '\n' for r in kept))
    os.replace(temporary, path)
    self._lines = path.open('a')
    # It imports PyTorch where that is installed, which takes a second or two.
    import tensorboardX

    self._board = tensorboardX.SummaryWriter(
      str(pathlib.Path(workdir) / 'tensorboard'), purge_step=step + 1
    )

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes one record."""
    # JSON knows no NaN; null says that there is no number.
    record = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
    self._lines.write(json.dumps({'step': step, **record}) + '\n')
    self._lines.flush()
    for name, value in scalars.items():
      self._board.add_scalar(name, value, step)

  def close(self) -> None:
    """Flushes both files."""
    self._lines.close()
    self._board.close()


class Silent:
  """A writer for the processes that do not log."""

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def say(text: str) -> None:
  """Prints a line at once, above a progress bar if there is one."""
  tqdm.tqdm.write(text, file=sys.stdout)
  sys.stdout.flush()


def clock(seconds: float) -> str:
  """Returns seconds as H:MM:SS."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}'


class Progress:
  """A bar on a terminal, plain lines elsewhere.

  Args:
    total: steps of the run.
    step: where it goes on.
    batch_size: images per step.
  """

  def __init__(self, *, total: int, step: int, batch_size: int):
    self._total, self._batch = total, batch_size
    self._first, self._begun = step, None
    self._bar = tqdm.tqdm(
      total=total * batch_size,
      initial=step * batch_size,
      unit=' images',
      unit_scale=True,
      dynamic_ncols=True,
      disable=not sys.stdout.isatty(),
      file=sys.stdout,
    )

  def advance(self) -> None:
    """Counts a step."""
    self._bar.update(self._batch)

  def report(self, step: int, scalars: Mapping[str, float]) -> None:
    """Shows a record; without a terminal, as a line."""
    text = ', '.join(
      f'{name} {scalars[name]:.3f}'
      for name in ('loss', 'student/adv_accuracy', 'student/clean_accuracy')
      if name in scalars
    )
    if not self._bar.disable:
      self._bar.set_postfix_str(text, refresh=False)
      return
    now = time.monotonic()
    left = ''
    if self._begun is None:
      self._begun, self._first = now, step  # Compilation does not count.
    elif step > self._first:
      pace = (now - self._begun) / (step - self._first)
      left = f', {clock(pace * (self._total - step))} left'
    rate = scalars.get('images_per_second', 0)
    say(f'step {step}/{self._total}: {text}, {rate:.0f} images/s{left}')

  def close(self) -> None:
    """Leaves the bar where it is."""
    self._bar.close()
