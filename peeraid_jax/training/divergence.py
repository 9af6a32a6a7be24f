"""Divergence: how it is noticed before a state is saved, and what helps."""

import shlex

import jax
import numpy as np

from peeraid_jax.training import build, checkpoint
from peeraid_jax.training import step as step_lib

# float32 has 24 binary digits. Beyond 2^24 neighbouring numbers are more than
# 1 apart: steps of a usual length no longer change a weight of that size.
LARGEST_WEIGHT = 2.0**24


def check(state: step_lib.State) -> None:
  """Checks that a state is worth keeping.

  The trained networks should have finite numbers and weights of at most
  `LARGEST_WEIGHT`, and their optimizers finite arrays. A single number of an
  optimizer may be infinite: some keep the lowest loss so far.

  Args:
    state: replicated over the devices.

  Raises:
    FloatingPointError: it is not; names the step and the first such array.
  """
  roles = [r for r in state.nets if r in (*state.opt_states, 'student_swa')]
  for role in roles:
    net = state.nets[role]
    _check_arrays(state, f'{role}/weights', net.params, LARGEST_WEIGHT)
    _check_arrays(state, f'{role}/batch_stats', net.batch_stats, np.inf)
  for role, optimizer in state.opt_states.items():
    arrays = [x for x in jax.tree.leaves(optimizer) if np.ndim(x)]
    _check_arrays(state, f'{role}/optimizer', arrays, np.inf)


def _check_arrays(state, what: str, tree, largest: float) -> None:
  """Checks that all numbers are finite and at most `largest`."""
  for leaf in jax.tree.leaves(tree):
    array = np.asarray(leaf)
    if array.dtype.kind not in 'fV' or not array.size:
      continue
    # NaN if one number is NaN.
    found = float(np.max(np.abs(array)))
    if not found <= largest or found == np.inf:
      limit = '' if largest == np.inf else f' or above {largest:g}'
      raise FloatingPointError(
        f'step {int(state.step)}: {what} not finite{limit} ({found:g})'
      )


def advice(plan: build.Plan, workdir) -> str:
  """Returns what to do about a run that has diverged, with the exact flags.

  A work directory keeps its config: another learning rate needs another one.

  Args:
    plan: of the run.
    workdir: of the run.
  """
  rates = ' '.join(
    f'--config.optimizer.{role}.learning_rate={settings.learning_rate / 10:g}'
    for role, settings in plan.config.optimizer.items()
    if role in plan.method.trained
  )
  new = shlex.quote(f'{workdir}-lower-rate')
  step = checkpoint.latest_step(workdir)
  kept = 'Nothing was saved before it.'
  if step is not None:
    kept = f'{workdir} keeps its checkpoint of step {step}, from before it.'
  return (
    'Training has diverged: try a smaller learning rate, from the start and in '
    f'a new work directory, such as --workdir={new} {rates}; or a warm-up, '
    f'--config.optimizer.<role>.warmup_epochs. {kept}'
  )
