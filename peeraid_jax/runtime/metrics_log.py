"""The training log of a run: `metrics.jsonl` and TensorBoard events."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from peeraid_jax.runtime import files


def _path(workdir) -> pathlib.Path:
  return pathlib.Path(workdir) / 'metrics.jsonl'


def read(workdir) -> list[dict[str, Any]]:
  """Reads the logged records of a run.

  Args:
    workdir: work directory of the run.

  Returns:
    One dict per record, each with an int 'step'. Reading stops at the first
    damaged line: a run that was killed may leave half a line at the end.
  """
  path = _path(workdir)
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
    workdir: work directory of the run.
    step: the step from which the run continues; 0 for a new run. Records of
      later steps are dropped, because the run repeats those steps.
  """

  def __init__(self, workdir, *, step: int):
    path = _path(workdir)
    kept = [record for record in read(workdir) if record['step'] <= step]
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
