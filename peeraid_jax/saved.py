"""The networks that a run has saved, as its results and exports show them."""

from typing import Any

import ml_collections

from peeraid_jax import checkpoint, torch_roles
from peeraid_jax import nets as nets_lib


def restore(
  config: ml_collections.ConfigDict, workdir
) -> tuple[dict[str, tuple[nets_lib.Net, dict[str, Any]]], dict[str, Any]]:
  """Restores the networks of a run.

  Each from the checkpoint that was best for it, or from the latest
  (`config.eval.checkpoint`). Without any checkpoint, the PyTorch file that
  the config names is the student.

  Args:
    config: validated, that of the work directory.
    workdir: of the run.

  Returns:
    (role -> (network, where it comes from), role -> what its teachers are);
    the latter two as JSON.

  Raises:
    FileNotFoundError: the run has saved nothing.
  """
  states, found, told = {}, {}, {}
  for role in ('student', 'student_swa', 'peer', 'teacher'):
    wanted = 'best_swa' if role == 'student_swa' else 'best'
    if config.eval.checkpoint == 'latest':
      wanted = 'latest'
    if checkpoint.latest_step(workdir, which=wanted) is None:
      continue
    if wanted not in states:
      states[wanted] = checkpoint.restore_with_meta(workdir, which=wanted)
    state, meta = states[wanted]
    started = role != 'student_swa' or int(state.swa_count)
    if role in state.nets and started:
      source = {'checkpoint': wanted, 'step': int(state.step)}
      if wanted in meta['best']:
        best = meta['best'][wanted]
        source |= {'epoch': best['epoch'], 'selection_score': best['score']}
      found[role] = (state.nets[role], source)
      told = meta.get('teachers', {})
  if not found:
    imported = torch_roles.student(config)
    if imported is not None:
      return {'student': imported}, told
    raise FileNotFoundError(
      f'{workdir} has no {config.eval.checkpoint!r} checkpoint to evaluate; '
      'train first with --mode=train'
    )
  return found, told
