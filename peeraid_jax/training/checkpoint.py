"""Checkpoints of a run: the latest and the best, and what replaces lost ones.

A work directory holds `config.json` and
`checkpoints/{latest,best,best_swa}/<step>/`. Whoever meets a damaged
checkpoint takes another one, and says so.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import flax.serialization
import jax

from peeraid_jax.runtime import parallel, processes, progress
from peeraid_jax.runtime import workdir as workdir_lib
from peeraid_jax.training import build, checkpoint_files
from peeraid_jax.training import step as step_lib

State = step_lib.State

# 'best' and 'best_swa' are chosen by the selection attack's accuracy of the
# student and of the averaged student.
WHICH = ('latest', 'best', 'best_swa')
# Of those with the same step, the one that was saved last comes first.
_LAST_SAVED_FIRST = ('latest', 'best_swa', 'best')
# Two of the latest are kept, so that one is there while the other is replaced
# or if it is damaged.
_KEEP = {'latest': 2, 'best': 1, 'best_swa': 1}


class Restored(NamedTuple):
  """A checkpoint that was read.

  Attributes:
    state: replicated over the devices.
    meta: JSON that was saved with it.
    which: one of `WHICH`.
  """

  state: State
  meta: dict
  which: str


def which_of(role: str, preference: str) -> str:
  """Returns the checkpoint that holds a role's network.

  Args:
    role: of the run that saved it.
    preference: 'best' or 'latest'.
  """
  if preference == 'latest':
    return 'latest'
  return 'best_swa' if role == 'student_swa' else 'best'


def _folder(workdir, which: str) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / 'checkpoints' / which


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
  checkpoint_files.write(
    _folder(workdir, which),
    int(state.step),
    flax.serialization.to_state_dict(state),
    meta,
    keep=_KEEP[which],
  )


def latest_step(workdir, *, which: str = 'latest') -> int | None:
  """Returns the newest saved step, or None if there is no checkpoint."""
  return next(iter(checkpoint_files.steps(_folder(workdir, which))), None)


def _candidates(workdir, kinds: Sequence[str]) -> list[tuple[str, int]]:
  """Returns (which, step) of all checkpoints of some kinds, newest first."""
  found = [
    (which, step)
    for which in _LAST_SAVED_FIRST
    if which in kinds
    for step in checkpoint_files.steps(_folder(workdir, which))
  ]
  return sorted(found, key=lambda candidate: -candidate[1])


def _first_whole(
  workdir, candidates: Sequence[tuple[str, int]], *, repair: bool = False
) -> Restored:
  """Reads the first of some checkpoints that is whole; tells of the others.

  Those without a digest come last: only runs of early versions have them.

  Args:
    workdir: of the run.
    candidates: (which, step).
    repair: move damaged ones to `checkpoints/bad`, so that a resumed run can
      save at the same steps.

  Raises:
    PermissionError: this user may not read one.
    ValueError: none is whole.
  """
  plan = build.plan(workdir_lib.read_config(workdir))
  template = jax.eval_shape(lambda: build.initial_state(plan))
  expected = flax.serialization.to_state_dict(template)
  problems: dict[tuple[str, int], str] = {}
  found, taken = None, ('', 0)
  for which, step in candidates:
    folder = _folder(workdir, which)
    try:
      tree, meta, has_digest = checkpoint_files.read(folder, step, expected)
    except ValueError as error:
      problems[which, step] = str(error)
      continue
    if has_digest or found is None:
      found, taken = (tree, meta), (which, step)
    if has_digest:
      break
    problems[which, step] = f'{folder / str(step)} has no digest'
  if found is None:
    listed = '; '.join(problems.values())
    raise ValueError(f'no checkpoint is left to go on from: {listed}')
  for which, step in candidates[: candidates.index(taken)]:
    moved = ''
    if repair and jax.process_index() == 0:
      aside = checkpoint_files.set_aside(_folder(workdir, which), step)
      moved = f'; it was moved to {aside}'
    progress.say(
      f'warning: {problems[which, step]}{moved}. Going on from step '
      f'{taken[1]}, the checkpoint {taken[0]!r}.'
    )
  if taken in problems:
    progress.say(
      f'note: {problems[taken]}, as in early versions; damage to it would not '
      'be noticed'
    )
  # Fresh buffers: what Orbax hands out must not be donated.
  state = jax.tree.map(
    lambda x: x.copy(),
    flax.serialization.from_state_dict(template, found[0]),
  )
  return Restored(parallel.replicate(state), found[1], taken[0])


def restore_with_meta(workdir, *, which: str = 'latest') -> tuple[State, dict]:
  """Returns a saved state, replicated over the devices, and its meta.

  If the newest checkpoint is damaged, the one before it is taken, with a
  warning.

  Args:
    workdir: of the run.
    which: one of `WHICH`.

  Raises:
    FileNotFoundError: no such checkpoint.
    PermissionError: this user may not read it.
    ValueError: none can be read, or `which` is unknown.
  """
  if which not in WHICH:
    raise ValueError(f'{which=} is unknown; known: {", ".join(WHICH)}')
  workdir_lib.read_config(workdir)
  candidates = _candidates(workdir, (which,))
  if not candidates:
    raise FileNotFoundError(
      f'{workdir} has no {which!r} checkpoint: nothing was saved yet'
    )
  restored = _first_whole(workdir, candidates)
  return restored.state, restored.meta


def restore(workdir, *, which: str = 'latest') -> State:
  """Returns a saved state: `restore(workdir).nets['student'].eval(images)`.

  Arguments and errors are those of `restore_with_meta`.
  """
  return restore_with_meta(workdir, which=which)[0]


def resume(workdir) -> Restored | None:
  """Returns the newest whole checkpoint, to train on from it.

  The latest ones come first. A run that was killed at the end of an epoch may
  have a newer best one; it repeats that end, and so misses nothing that it had
  not saved yet. If no latest one is whole, the newest of another kind is taken.
  Damaged ones are moved to `checkpoints/bad`, with a warning.

  Args:
    workdir: of the run.

  Returns:
    None if nothing was saved yet.

  Raises:
    PermissionError: this user may not read one.
    ValueError: all are damaged.
  """
  for which in WHICH:
    if jax.process_index() == 0:
      checkpoint_files.complete_replacement(_folder(workdir, which))
  latest = _candidates(workdir, ('latest',))
  others = _candidates(workdir, ('best', 'best_swa'))
  if not latest and not others:
    return None
  try:
    found = _first_whole(workdir, [*latest, *others], repair=True)
  except ValueError as error:
    raise ValueError(
      f'{error}. Name another folder with --workdir=DIR to start again.'
    ) from error
  processes.check_agreement(
    'checkpoints to go on from',
    {'kind': found.which, 'step': int(found.state.step)},
  )
  return found


def restore_or_other(workdir, which: str) -> Restored | None:
  """Returns a checkpoint for an evaluation; if it is lost, another one.

  Args:
    workdir: of the run.
    which: one of `WHICH`.

  Returns:
    That checkpoint. If it is damaged or gone, the newest of another kind, with
    a warning; its `which` tells. None if the run has not saved it yet.

  Raises:
    PermissionError: this user may not read one.
    ValueError: all are damaged.
  """
  own = _candidates(workdir, (which,))
  others = _candidates(workdir, [other for other in WHICH if other != which])
  problem = f'{workdir} has lost its checkpoint {which!r}'
  if own:
    try:
      return _first_whole(workdir, own)
    except ValueError as error:
      if not others:
        raise
      problem = str(error)
  if not others:
    return None
  found = _first_whole(workdir, others)
  if not own and which != 'latest' and which not in found.meta.get('best', {}):
    return None
  progress.say(
    f'warning: {problem}. Its checkpoint {found.which!r} of step '
    f'{int(found.state.step)} is taken instead.'
  )
  return found
