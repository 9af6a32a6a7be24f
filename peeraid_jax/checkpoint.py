"""Checkpoints: the latest of a run and its best, written by Orbax.

A work directory holds `config.json` and
`checkpoints/{latest,best,best_swa}/<step>/`. Orbax writes into a temporary
folder and renames it: a checkpoint is whole or it is not there.
"""

import json
import pathlib

import flax.serialization
import jax
import ml_collections
import orbax.checkpoint as ocp

from peeraid_jax import build, parallel
from peeraid_jax import config as config_lib
from peeraid_jax import step as step_lib

State = step_lib.State

# 'best' and 'best_swa' are chosen by the selection attack's accuracy of the
# student and of the averaged student.
WHICH = ('latest', 'best', 'best_swa')
# Of the latest ones two are kept: while one is replaced, one is there.
_KEEP = {'latest': 2, 'best': 1, 'best_swa': 1}


def _folder(workdir, which: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints' / which


def _manager(workdir, which: str, *, create: bool):
  return ocp.CheckpointManager(
    _folder(workdir, which),
    options=ocp.CheckpointManagerOptions(
      max_to_keep=_KEEP[which],
      create=create,
      # What a run that was killed while it saved has left.
      cleanup_tmp_directories=create,
      # The state is donated to the next step; nothing may still read it.
      enable_async_checkpointing=False,
    ),
    item_names=('state', 'meta'),
  )


def save(workdir, state: State, meta: dict, *, which: str) -> None:
  """Saves a state, replacing one of the same step.

  Args:
    workdir: of the run.
    state: replicated over the devices.
    meta: JSON: what a resumed run needs beside the arrays.
    which: one of `WHICH`.

  Raises:
    OSError: the work directory cannot be written.
  """
  step = int(state.step)
  with _manager(workdir, which, create=True) as manager:
    if step in manager.all_steps():
      manager.delete(step)
    tree = flax.serialization.to_state_dict(state)
    manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
      ),
      force=True,
    )
    manager.wait_until_finished()


def latest_step(workdir, *, which: str = 'latest') -> int | None:
  """Returns the newest saved step, or None if there is no checkpoint."""
  if not _folder(workdir, which).is_dir():
    return None
  with _manager(workdir, which, create=False) as manager:
    return manager.latest_step()


def read_config(workdir) -> ml_collections.ConfigDict:
  """Returns the config that a work directory was made with.

  Raises:
    FileNotFoundError: not a work directory.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.exists():
    raise FileNotFoundError(
      f'{workdir} is not the work directory of a run: it has no config.json'
    )
  return config_lib.from_json(json.loads(path.read_text()))


def restore_with_meta(workdir, *, which: str = 'latest') -> tuple[State, dict]:
  """Returns a saved state, replicated over the devices, and its meta.

  Args:
    workdir: of the run.
    which: one of `WHICH`.

  Raises:
    FileNotFoundError: no such checkpoint.
    ValueError: it cannot be read, or `which` is unknown.
  """
  if which not in WHICH:
    raise ValueError(f'{which=} is unknown; known: {", ".join(WHICH)}')
  template = jax.eval_shape(lambda: build.state(read_config(workdir)))
  step = latest_step(workdir, which=which)
  if step is None:
    raise FileNotFoundError(
      f'{workdir} has no {which!r} checkpoint: nothing was saved yet'
    )
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
      raise ValueError(
        f'the checkpoint {_folder(workdir, which) / str(step)} cannot be '
        f'read ({type(error).__name__}: {str(error)[:300]}). Delete that '
        'folder to go on from the one before it.'
      ) from error
  # Fresh buffers: what Orbax hands out must not be donated.
  state = jax.tree.map(
    lambda x: x.copy(),
    flax.serialization.from_state_dict(template, saved.state),
  )
  return parallel.replicate(state), dict(saved.meta)


def restore(workdir, *, which: str = 'latest') -> State:
  """Returns a saved state: `restore(workdir).nets['student'].eval(images)`.

  Arguments and errors are those of `restore_with_meta`.
  """
  return restore_with_meta(workdir, which=which)[0]
