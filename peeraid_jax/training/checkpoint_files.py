"""One checkpoint on disk: written, read and checked.

Orbax writes into a temporary folder and renames it: a checkpoint is whole or
it is not there. It carries a digest, by which later damage is detected.
"""

import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from peeraid_jax.runtime import parallel, processes

_DIGEST = 'sha256'


def digest(tree, meta: dict) -> str:
  """Returns a digest of the meta and of all arrays, by name, type and bits."""
  made = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    made.update(f'{name} {array.dtype} {array.shape}'.encode())
    # As bytes: a bfloat16 array has no buffer that hashlib could read.
    made.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
  return made.hexdigest()


def _manager(folder: pathlib.Path, *, keep: int | None = None):
  """Opens a folder of checkpoints to read; to write if it keeps a number."""
  return ocp.CheckpointManager(
    folder,
    options=ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      create=keep is not None,
      # Left by a run that was killed while it saved.
      cleanup_tmp_directories=keep is not None,
      # The state is donated to the next step; nothing may still read it.
      enable_async_checkpointing=False,
    ),
    item_names=('state', 'meta'),
  )


def _short(error: Exception) -> str:
  """Describes an error on one line; Orbax's have many."""
  return f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'


def write(
  folder: pathlib.Path, step: int, tree, meta: dict, *, keep: int
) -> None:
  """Writes a checkpoint, replacing one of the same step.

  The one that is replaced stays until the new one is whole.

  Args:
    folder: of the checkpoints of one kind.
    step: names the checkpoint.
    tree: nested dicts of arrays, replicated over the devices.
    meta: JSON.
    keep: how many checkpoints stay in the folder, the newest ones.

  Raises:
    OSError: it cannot be written; what was there before is still there.
  """
  saved = {**meta, _DIGEST: digest(tree, meta)}
  target, new = folder / str(step), folder.with_name(f'{folder.name}.new')
  try:
    replaces = processes.any_of(os.path.lexists(target))
    if replaces:
      # It may hold what a run left that was killed here.
      processes.together(functools.partial(_remove, new))
    with _manager(new if replaces else folder, keep=keep) as manager:
      manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(parallel.to_global(tree)),
          meta=ocp.args.JsonSave(saved),
        ),
        force=True,
      )
      manager.wait_until_finished()
    if replaces:
      processes.together(functools.partial(_replace, target, new))
  except Exception as error:  # Orbax and TensorStore have no one class.
    raise OSError(
      f'step {step} cannot be saved in {folder} ({_short(error)}). Is the disk '
      'full or write-protected? Earlier checkpoints are still there: the same '
      'command goes on from them.'
    ) from error


def _remove(path: pathlib.Path) -> None:
  """Removes a folder or file, if it is there; process 0 alone does it."""
  if jax.process_index():
    return
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def _replace(target: pathlib.Path, new: pathlib.Path) -> None:
  """Moves the checkpoint that lies in `new` to `target`, and removes `new`.

  A folder that is not empty cannot be replaced by one renaming: the old
  checkpoint is moved out of the way, and removed at the end. Process 0 alone
  does it.
  """
  if jax.process_index():
    return
  old = new / 'replaced'
  os.replace(target, old)
  try:
    os.replace(new / target.name, target)
  except OSError:
    os.replace(old, target)
    raise
  _remove(new)


def complete_replacement(folder: pathlib.Path) -> None:
  """Ends a replacement of `write` during which the process was killed.

  Args:
    folder: of the checkpoints of one kind; it need not exist.
  """
  new = folder.with_name(f'{folder.name}.new')
  if not new.is_dir():
    return
  # With 'replaced', the old one is out of the way: the new one is whole.
  if (new / 'replaced').is_dir():
    for step in steps(new):
      if not os.path.lexists(folder / str(step)):
        os.replace(new / str(step), folder / str(step))
  _remove(new)


def steps(folder: pathlib.Path) -> list[int]:
  """Returns the steps of the checkpoints in a folder, damaged ones too.

  Args:
    folder: of the checkpoints of one kind; it need not exist.

  Returns:
    The steps, the newest first.

  Raises:
    NotADirectoryError: a file is where the folder should be.
  """
  try:
    names = [path.name for path in folder.iterdir()]
  except FileNotFoundError:
    return []
  except NotADirectoryError:
    raise NotADirectoryError(
      f'{folder} should be a folder of checkpoints, and is a file or lies in '
      'one; move it away, or name another work directory with --workdir=DIR'
    ) from None
  found = [int(name) for name in names if re.fullmatch('[0-9]+', name)]
  return sorted(found, reverse=True)


def _check_access(folder: pathlib.Path) -> None:
  """Checks that this user may read a checkpoint.

  One that may not be read is not damaged: to take another one would be wrong.

  Raises:
    PermissionError: it may not be read.
    ValueError: it is not a folder.
  """
  if not folder.is_dir():
    raise ValueError(f'{folder} is not a folder')
  for path in (folder, *folder.rglob('*')):
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
      raise PermissionError(
        f'{path} may not be read by this user; change its permissions'
      )


def read(folder: pathlib.Path, step: int, tree) -> tuple[Any, dict, bool]:
  """Reads a checkpoint.

  Args:
    folder: of the checkpoints of one kind.
    step: names the checkpoint.
    tree: nested dicts of arrays, or of their shapes, as they were saved.

  Returns:
    (tree of arrays, meta, whether a digest confirms both). Checkpoints of
    early versions have no digest.

  Raises:
    PermissionError: this user may not read it.
    ValueError: it cannot be read, or is not what was saved.
  """
  path = folder / str(step)
  _check_access(path)
  try:
    with _manager(folder) as manager:
      saved = manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(parallel.replicated_like(tree)),
          meta=ocp.args.JsonRestore(),
        ),
      )
  except Exception as error:  # Orbax and TensorStore have no one class.
    raise ValueError(f'{path} cannot be read ({_short(error)})') from error
  meta, tree = saved.meta, parallel.to_local(saved.state)
  has_digest = isinstance(meta, dict) and _DIGEST in meta
  if has_digest:
    meta = dict(meta)
    whole = meta.pop(_DIGEST) == digest(tree, meta)
  else:
    whole = (
      isinstance(meta, dict)
      and isinstance(meta.get('best'), dict)
      and isinstance(meta.get('epoch_ended'), bool)
    )
  if not whole:
    raise ValueError(f'{path} is not what was saved: its bits have changed')
  return tree, meta, has_digest


def set_aside(folder: pathlib.Path, step: int) -> pathlib.Path:
  """Moves a damaged checkpoint into the folder `bad` beside its own.

  Returns:
    Where it is now.

  Raises:
    OSError: the folder cannot be written.
  """
  aside = folder.with_name('bad')
  aside.mkdir(exist_ok=True)
  count = 0
  while os.path.lexists(target := aside / f'{folder.name}-{step}-{count}'):
    count += 1
  os.replace(folder / str(step), target)
  return target
