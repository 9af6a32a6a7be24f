"""Checkpoints: the latest of a run and its best, written by Orbax.

A work directory holds `config.json` and
`checkpoints/{latest,best,best_swa}/<step>/`. Orbax writes into a temporary
folder and renames it: a checkpoint is whole or it is not there. It carries a
digest, by which later damage on disk is detected.
"""

import hashlib
import json
import os
import pathlib

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from peeraid_jax.runtime import parallel, progress
from peeraid_jax.runtime import workdir as workdir_lib
from peeraid_jax.training import build
from peeraid_jax.training import step as step_lib

State = step_lib.State

# 'best' and 'best_swa' are chosen by the selection attack's accuracy of the
# student and of the averaged student.
WHICH = ('latest', 'best', 'best_swa')
_DIGEST = 'sha256'
# Two of the latest are kept, so that one is there while the other is replaced
# or if it is damaged.
_KEEP = {'latest': 2, 'best': 1, 'best_swa': 1}


def _folder(workdir, which: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints' / which


def _digest(tree, meta: dict) -> str:
  """Returns a digest of the meta and of all arrays, by name, type and bits."""
  digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()


def _manager(workdir, which: str, *, create: bool):
  return ocp.CheckpointManager(
    _folder(workdir, which),
    options=ocp.CheckpointManagerOptions(
      max_to_keep=_KEEP[which],
      create=create,
      # Left by a run that was killed while it saved.
      cleanup_tmp_directories=create,
      # The state is donated to the next step; nothing may still read it.
      enable_async_checkpointing=False,
    ),
    item_names=('state', 'meta'),
  )


def _short(error: Exception) -> str:
  return f'{type(error).__name__}: {str(error)[:300]}'


def save(workdir, state: State, meta: dict, *, which: str) -> None:
  """Saves a state, replacing one of the same step.

  Args:
    workdir: of the run.
    state: replicated over the devices.
    meta: JSON; what a resumed run needs besides the arrays.
    which: one of `WHICH`.

  Raises:
    OSError: the work directory cannot be written; what was saved before is
      still there.
  """
  step = int(state.step)
  tree = flax.serialization.to_state_dict(state)
  saved = {**meta, _DIGEST: _digest(tree, meta)}
  try:
    with _manager(workdir, which, create=True) as manager:
      if step in manager.all_steps():
        manager.delete(step)
      manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(parallel.to_global(tree)),
          meta=ocp.args.JsonSave(saved),
        ),
        force=True,
      )
      manager.wait_until_finished()
  except Exception as error:  # Orbax and TensorStore have no one class.
    raise OSError(
      f'step {step} cannot be saved in {_folder(workdir, which)} '
      f'({_short(error)}). Is the disk full or write-protected? Earlier '
      'checkpoints are still there: the same command goes on from them.'
    ) from error


def _steps(workdir, which: str) -> list[int]:
  """Returns the saved steps, the newest first."""
  return sorted(
    ocp.utils.checkpoint_steps(_folder(workdir, which)), reverse=True
  )


def latest_step(workdir, *, which: str = 'latest') -> int | None:
  """Returns the newest saved step, or None if there is no checkpoint."""
  return next(iter(_steps(workdir, which)), None)


def _read(workdir, which: str, step: int, template) -> tuple[State, dict]:
  """Reads one checkpoint.

  Raises:
    ValueError: it cannot be read, or is not what was saved.
  """
  folder = _folder(workdir, which) / str(step)
  tree = flax.serialization.to_state_dict(template)
  with _manager(workdir, which, create=False) as manager:
    try:
      saved = manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(parallel.replicated_like(tree)),
          meta=ocp.args.JsonRestore(),
        ),
      )
    except Exception as error:  # Orbax and TensorStore have no one class.
      raise ValueError(f'{folder} cannot be read ({_short(error)})') from error
  meta, tree = dict(saved.meta), parallel.to_local(saved.state)
  # Older ones carry no digest.
  expected = meta.pop(_DIGEST, None)
  if expected not in (None, _digest(tree, meta)):
    raise ValueError(f'{folder} is not what was saved: its bits have changed')
  # Fresh buffers: what Orbax hands out must not be donated.
  state = jax.tree.map(
    lambda x: x.copy(),
    flax.serialization.from_state_dict(template, tree),
  )
  return parallel.replicate(state), meta


def _set_aside(workdir, which: str, step: int) -> pathlib.Path:
  """Moves a bad checkpoint out of the way of the next ones."""
  aside = pathlib.Path(workdir).absolute() / 'checkpoints' / 'bad'
  aside.mkdir(exist_ok=True)
  count = len(list(aside.iterdir()))
  target = aside / f'{which}-{step}-{count}'
  os.replace(_folder(workdir, which) / str(step), target)
  return target


def restore_with_meta(
  workdir, *, which: str = 'latest', repair: bool = False
) -> tuple[State, dict]:
  """Returns a saved state, replicated over the devices, and its meta.

  If the newest checkpoint is damaged, the one before it is taken, with a
  warning.

  Args:
    workdir: of the run.
    which: one of `WHICH`.
    repair: move damaged ones to `checkpoints/bad`, so that a resumed run can
      save at the same steps.

  Raises:
    FileNotFoundError: no such checkpoint.
    ValueError: none can be read, or `which` is unknown.
  """
  if which not in WHICH:
    raise ValueError(f'{which=} is unknown; known: {", ".join(WHICH)}')
  plan = build.plan(workdir_lib.read_config(workdir))
  template = jax.eval_shape(lambda: build.initial_state(plan))
  steps = _steps(workdir, which)
  if not steps:
    raise FileNotFoundError(
      f'{workdir} has no {which!r} checkpoint: nothing was saved yet'
    )
  problems = []
  for step in steps:
    try:
      state_and_meta = _read(workdir, which, step, template)
    except ValueError as error:
      problems.append((step, str(error)))
      continue
    for damaged_step, problem in problems:
      moved = ''
      if repair and jax.process_index() == 0:
        moved = f'; it was moved to {_set_aside(workdir, which, damaged_step)}'
      progress.say(
        f'warning: {problem}{moved}. Going on from step {step}, the '
        'checkpoint before it.'
      )
    return state_and_meta
  advice = 'Name another folder with --workdir=DIR to begin anew.'
  if which != 'latest' and _steps(workdir, 'latest'):
    advice = '--config.eval.checkpoint=latest evaluates the latest one.'
  listed = '; '.join(problem for _, problem in problems)
  raise ValueError(f'no checkpoint is left to go on from: {listed}. {advice}')


def restore(workdir, *, which: str = 'latest') -> State:
  """Returns a saved state: `restore(workdir).nets['student'].eval(images)`.

  Arguments and errors are those of `restore_with_meta`.
  """
  return restore_with_meta(workdir, which=which)[0]
