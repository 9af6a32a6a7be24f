"""The saved networks of a run, for its evaluation, reports and exports."""

from typing import Any

import ml_collections

from peeraid_jax import nets as nets_lib
from peeraid_jax.training import checkpoint, torch_files

# Role -> the checkpoint with the best selection score for this role.
_BEST_CHECKPOINT = {
  'student': 'best',
  'student_swa': 'best_swa',
  'peer': 'best',
  'teacher': 'best',
}


def restore(
  config: ml_collections.ConfigDict, workdir
) -> tuple[dict[str, tuple[nets_lib.Net, dict[str, Any]]], dict[str, Any]]:
  """Restores the networks of a run.

  With `config.eval.checkpoint` 'best', each network comes from the checkpoint
  that is best for it; with 'latest', all come from the latest one. Without
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
  restored: dict[str, tuple[Any, dict]] = {}
  networks, teachers = {}, {}
  for role, which in _BEST_CHECKPOINT.items():
    if config.eval.checkpoint == 'latest':
      which = 'latest'
    if checkpoint.latest_step(workdir, which=which) is None:
      continue
    if which not in restored:
      restored[which] = checkpoint.restore_with_meta(workdir, which=which)
    state, meta = restored[which]
    # Before the first epoch of averaging, the average is not a network yet.
    if role == 'student_swa' and not int(state.swa_count):
      continue
    if role in state.nets:
      source = {'checkpoint': which, 'step': int(state.step)}
      if which in meta['best']:
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
