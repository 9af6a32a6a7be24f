"""What is measured while a run trains: its best checkpoint is chosen by it."""

from typing import Any

import ml_collections
import numpy as np

from peeraid_jax import config as config_lib
from peeraid_jax import evaluate


def evaluator(config: ml_collections.ConfigDict, **settings):
  """Returns `evaluate.make_evaluate` with the settings of a config."""
  return evaluate.make_evaluate(
    epsilon=config.attack.epsilon,
    step_size=config.attack.step_size,
    norm=config.attack.norm,
    batch_size=config.eval.batch_size,
    seed=config.seed,
    **settings,
  )


def own(nets) -> dict[str, Any]:
  """The roles without the average, in the order of the tables."""
  return {role: nets[role] for role in config_lib.ROLES if role in nets}


def transfers(nets, attacks) -> list[evaluate.Transfer]:
  """Who is shown images that attack the student: its peer or teacher."""
  return [
    evaluate.Transfer(target, 'student', name)
    for target in ('peer', 'teacher')
    for name in attacks
    if target in nets and name != 'clean'
  ]


def make_selection(config: ml_collections.ConfigDict, data):
  """Returns the evaluator that `train` calls at the end of an epoch.

  Clean and selection-attack accuracy of the student and its average, clean
  accuracy of the peer, and the peer's and the teacher's on images that attack
  the student: how far they are specialised.

  Args:
    config: validated.
    data: the selection `Dataset`.
  """
  run = evaluator(config)
  attack = config.eval.select_attack

  def select(state, tick) -> dict[str, float]:
    nets = own(state.nets)
    if int(state.swa_count) == 0:
      nets.pop('student_swa', None)
    attacks = {
      # Once each, also where the selection attack is 'clean'.
      role: ('clean',) if role == 'peer' else tuple({'clean': 0, attack: 0})
      for role in nets
    }
    found = run(
      state.nets, data, attacks, transfers(state.nets, [attack]), tick
    )
    scalars = {
      f'select/{role}/{name}': float(np.mean(hits))
      for role, values in found.roles.items()
      for name, hits in values.items()
    }
    for name, hits in found.transfer.items():
      scalars[f'select/{name}'] = float(np.mean(hits))
    return scalars

  return select
