"""The saved networks of a run, for its evaluation, reports and exports."""

from typing import Any

import ml_collections

from peeraid_jax import nets as nets_lib
from peeraid_jax.training import checkpoint, torch_files

_ROLES = ('student', 'student_swa', 'peer', 'teacher')


def restore(
  config: ml_collections.ConfigDict, workdir
) -> tuple[dict[str, tuple[nets_lib.Net, dict[str, Any]]], dict[str, Any]]:
  """Restores the networks of a run.

  With `config.eval.checkpoint` 'best', each network comes from the checkpoint
  that is best for it; with 'latest', all come from the latest one. One that is
  damaged or gone is replaced by another, which the description says. Without
  any checkpoint, the PyTorch file that the config names is the student.

  Args:
    config: validated, the config of the work directory.
    workdir: work directory of the run.

  Returns:
    (networks, teachers). Networks: role -> (network, its checkpoint, step,
    epoch and selection score as JSON). Teachers: role -> description of the
    network that the run's teacher is, as JSON.

  Raises:
    FileNotFoundError: the run has no checkpoint.
  """
  restored: dict[str, checkpoint.Restored | None] = {}
  networks, teachers = {}, {}
  for role in _ROLES:
    if role == 'student_swa' and not config.swa.enabled:
      continue
    which = checkpoint.which_of(role, config.eval.checkpoint)
    if which not in restored:
      restored[which] = checkpoint.restore_or_other(workdir, which)
    found = restored[which]
    if found is None:
      continue
    state, meta, taken = found
    # Before the first epoch of averaging, the average is not a network yet.
    if role == 'student_swa' and not int(state.swa_count):
      continue
    if role in state.nets:
      source = {'checkpoint': taken, 'step': int(state.step)}
      if taken != which:
        source['warning'] = f'in place of {which!r}, which is damaged or gone'
      elif which in meta['best']:
        best = meta['best'][which]
        source |= {'epoch': best['epoch'], 'selection_score': best['score']}
      networks[role] = (state.nets[role], source)
      teachers = meta.get('teachers', {})
  if networks:
    return networks, teachers
  imported = torch_files.student(config)
  if imported is not None:
    return {'student': imported}, teachers
  raise FileNotFoundError(
    f'{workdir} has no {config.eval.checkpoint!r} checkpoint to evaluate; '
    'train first with --mode=train'
  )
