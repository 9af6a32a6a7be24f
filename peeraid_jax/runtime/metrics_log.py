"""The training log of a run: `metrics.jsonl` and TensorBoard events."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from peeraid_jax import files
from peeraid_jax.runtime import progress


def _path(workdir) -> pathlib.Path:
  return pathlib.Path(workdir) / 'metrics.jsonl'


def _record(line: bytes) -> dict[str, Any] | None:
  """Returns the record of a line; None if it is damaged."""
  try:
    # A power cut may leave null bytes in place of what was written last.
    record = json.loads(line.strip(b'\0').decode())
  except (ValueError, RecursionError):
    return None
  step = record.get('step') if isinstance(record, dict) else None
  if not isinstance(step, int) or isinstance(step, bool):
    return None
  return record


def _lines(workdir) -> list[bytes]:
  """Returns the lines of the log that hold anything."""
  path = _path(workdir)
  lines = path.read_bytes().split(b'\n') if path.exists() else []
  return [line for line in lines if line.strip(b'\0 \t\r')]


def read(workdir) -> list[dict[str, Any]]:
  """Reads the logged records of a run.

  Args:
    workdir: work directory of the run.

  Returns:
    One dict per record, each with an int 'step'. Damaged lines are left out: a
    run that was killed may leave half a line at the end.
  """
  records = map(_record, _lines(workdir))
  return [record for record in records if record is not None]


def _set_aside(workdir, damaged: list[bytes]) -> None:
  """Moves damaged lines to a file of their own, and says so."""
  path = _path(workdir)
  aside = path.with_name(f'{path.name}.damaged')
  with aside.open('ab') as file:
    file.writelines(line + b'\n' for line in damaged)
  lines = 'line of' if len(damaged) == 1 else 'lines of'
  progress.say(
    f'note: {len(damaged)} damaged {lines} {path} moved to {aside.name}; the '
    'other records stay'
  )


class Writer:
  """Appends scalars to `metrics.jsonl` and to TensorBoard events.

  Args:
    workdir: work directory of the run.
    step: the step from which the run continues; 0 for a new run. Records of
      later steps are dropped, because the run repeats those steps. Damaged
      lines are moved to `metrics.jsonl.damaged`, with a note.
  """

  def __init__(self, workdir, *, step: int):
    path = _path(workdir)
    damaged = [line for line in _lines(workdir) if _record(line) is None]
    kept = [record for record in read(workdir) if record['step'] <= step]
    if damaged:
      _set_aside(workdir, damaged)
    files.write_text(path, ''.join(json.dumps(r) + '\n' for r in kept))
    self._file = path.open('a')
    # Imported late: it imports PyTorch where that is installed, which takes a
    # second or two.
    import tensorboardX

    self._tensorboard = tensorboardX.SummaryWriter(
      str(pathlib.Path(workdir) / 'tensorboard'), purge_step=step + 1
    )

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Appends one record: name -> value at a step."""
    # JSON has no NaN and no infinity; they are written as null.
    record = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
    self._file.write(json.dumps({'step': step, **record}) + '\n')
    self._file.flush()
    for name, value in scalars.items():
      self._tensorboard.add_scalar(name, value, step)

  def close(self) -> None:
    """Flushes and closes both files."""
    self._file.close()
    self._tensorboard.close()


class NullWriter:
  """A `Writer` that writes nothing: only process 0 of a run logs."""

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""
