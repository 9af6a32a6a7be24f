"""Evaluation at the end of an epoch, by which the best checkpoint is chosen."""

from typing import Any

import ml_collections
import numpy as np

from peeraid_jax import config as config_lib
from peeraid_jax.evaluation import accuracy


def evaluator(config: ml_collections.ConfigDict, **settings):
  """Returns an evaluator of `accuracy` with a config's settings.

  Args:
    config: validated.
    **settings: further arguments of `accuracy.make_evaluate`.
  """
  return accuracy.make_evaluate(
    epsilon=config.attack.epsilon,
    step_size=config_lib.eval_step_size(config),
    norm=config.attack.norm,
    batch_size=config.eval.batch_size,
    seed=config.seed,
    **settings,
  )


def own_nets(nets) -> dict[str, Any]:
  """Returns a run's own networks: student, its average, peer; no teachers.

  Args:
    nets: role -> network.

  Returns:
    role -> network, in the order of the tables.
  """
  return {role: nets[role] for role in config_lib.OWN_ROLES if role in nets}


def transfers(nets, attacks) -> list[accuracy.Transfer]:
  """Returns the transfers from the student to its peer and its teacher.

  Args:
    nets: role -> network; roles that are missing are left out.
    attacks: names of the attacks on the student; 'clean' is skipped.
  """
  return [
    accuracy.Transfer(target, 'student', name)
    for target in ('peer', 'teacher')
    for name in attacks
    if target in nets and name != 'clean'
  ]


def make_selection(config: ml_collections.ConfigDict, data):
  """Returns the evaluator that `train` calls at the end of an epoch.

  It measures clean accuracy and accuracy under the selection attack
  (`config.eval.select_attack`) of the student and its average, clean accuracy
  of the peer, and the accuracies of peer and teacher on images that attack
  the student. The latter show how far they are specialised to defend the
  student.

  Args:
    config: validated.
    data: the selection `Dataset`.

  Returns:
    select(state, tick) -> name of a scalar, 'select/...' -> accuracy.
  """
  evaluate = evaluator(config)
  attack = config.eval.select_attack

  def select(state, tick) -> dict[str, float]:
    nets = own_nets(state.nets)
    if int(state.swa_count) == 0:
      nets.pop('student_swa', None)
    # Without duplicates: the selection attack may be 'clean' itself.
    clean_and_attack = tuple(dict.fromkeys(('clean', attack)))
    attacks = {
      role: ('clean',) if role == 'peer' else clean_and_attack for role in nets
    }
    outcomes = evaluate(
      state.nets, data, attacks, transfers(state.nets, [attack]), tick
    )
    scalars = {
      f'select/{role}/{name}': float(np.mean(correct))
      for role, by_attack in outcomes.roles.items()
      for name, correct in by_attack.items()
    }
    for name, correct in outcomes.transfer.items():
      scalars[f'select/{name}'] = float(np.mean(correct))
    return scalars

  return select
