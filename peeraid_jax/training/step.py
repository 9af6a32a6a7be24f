"""The training step: attack, losses, gradients and updates of all networks.

`make_train_step` joins four parts, in the order in which they happen:
`make_batch`, `attack`, the gradients (see `gradients.py`) and `update`. The
result is one pure function per device; `map_train_step` maps it over devices.
"""

from collections.abc import Callable, Mapping
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import optax

from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches
from peeraid_jax.methods import base
from peeraid_jax.runtime import parallel
from peeraid_jax.training import gradients as gradients_lib
from peeraid_jax.training.gradients import Attacked, Gradients

Optimizers = Mapping[str, optax.GradientTransformation]


class State(flax.struct.PyTreeNode):
  """Everything that training changes.

  Attributes:
    step: int32, steps taken.
    nets: role -> network; 'student_swa' is the averaged student.
    opt_states: trained role -> optimizer state.
    swa_count: int32, number of students in the average.
  """

  step: chex.Array
  nets: dict[str, nets_lib.Net]
  opt_states: dict[str, Any]
  swa_count: chex.Array


@jax.jit
def _copied(tree):
  """Copies all arrays by one program, instead of one for each shape."""
  return jax.tree.map(jnp.copy, tree)


def create_state(
  nets: Mapping[str, nets_lib.Net], optimizers: Optimizers, *, swa: bool
) -> State:
  """Builds the initial state of a run.

  Args:
    nets: role -> initialised network.
    optimizers: trained role -> optimizer.
    swa: whether the student is averaged.
  """
  nets = dict(nets)

  # One program instead of one for each shape, as in `_copied`.
  @jax.jit
  def initial(params):
    return {r: o.init(params[r]) for r, o in optimizers.items()}

  opt_states = initial({r: nets[r].params for r in optimizers})
  if swa:
    # A copy: a donated argument must not name one buffer twice.
    nets['student_swa'] = _copied(nets['student'])
  zero = jnp.zeros((), jnp.int32)
  return State(zero, nets, opt_states, jnp.copy(zero))


def make_batch(
  rows, data, key: chex.PRNGKey, step: chex.Array, augmentation
) -> tuple[batches.Batch, chex.PRNGKey]:
  """Gathers and augments this device's part of a batch.

  The randomness of an example depends on the run's key, the step and the
  example's place in the global batch alone, not on the number of devices.

  Args:
    rows: `batches.Rows` of the resident data, or `batches.Streamed` images.
    data: the resident data; a dummy scalar for streamed images.
    key: of training, made from the run's seed.
    step: int32, steps taken.
    augmentation: the settings of `batches.augment`.

  Returns:
    (the batch, one key per example for the attack, [B]).
  """
  keys = batches.keys_of(jax.random.fold_in(key, step), rows.position)
  keys = jax.vmap(jax.random.split)(keys)
  batch = rows.read(data)
  images = batches.augment(batch.images, keys[:, 0], **augmentation)
  return batch._replace(images=images), keys[:, 1]


def attack(
  method: base.Method,
  nets: base.Nets,
  batch: batches.Batch,
  keys: chex.PRNGKey,
  pool: batches.Pool | None,
) -> Attacked:
  """Attacks a batch; no gradient flows through the adversarial images.

  Args:
    method: its `craft` is the attack.
    nets: role -> network, as the step found them.
    batch: augmented images and labels.
    keys: one per example, [B].
    pool: training images, for a method that draws some.
  """
  adv = method.craft(nets, batch._replace(pool=pool), keys)
  return Attacked(batch, jax.lax.stop_gradient(adv))


def update(
  state: State, result: Gradients, params: Any, optimizers: Optimizers
) -> tuple[State, dict[str, chex.Array]]:
  """Applies gradients to the parameters of all trained networks.

  With a weight perturbation the optimizer, its weight decay included, works
  at the perturbed weights; then the perturbation is taken back, as in AWP's
  code.

  Args:
    state: before the step.
    result: gradients, averaged over devices, and the nets after their passes.
    params: trained role -> parameters.
    optimizers: trained role -> optimizer.

  Returns:
    (state after the step, scalars to log).
  """
  nets, metrics = dict(result.nets), dict(result.metrics)
  opt_states = dict(state.opt_states)
  for role, optimizer in optimizers.items():
    weights = params[role]
    if role in result.perturbations:
      weights = optax.apply_updates(weights, result.perturbations[role])
    updates, opt_states[role] = optimizer.update(
      result.grads[role], opt_states[role], weights
    )
    weights = optax.apply_updates(weights, updates)
    if role in result.perturbations:
      weights = jax.tree.map(jnp.subtract, weights, result.perturbations[role])
    nets[role] = nets[role].replace(params=weights)
    metrics[f'{role}/grad_norm'] = optax.tree.norm(result.grads[role])
  return state.replace(
    step=state.step + 1, nets={**state.nets, **nets}, opt_states=opt_states
  ), metrics


def make_train_step(
  method: base.Method,
  optimizers: Optimizers,
  *,
  augmentation: Mapping[str, Any],
  steps_per_epoch: int = 1,
  wrappers: tuple[Callable[..., Any], ...] = (),
  microbatches: int = 1,
) -> Callable:
  """Returns the per-device training step.

  Args:
    method: what is crafted and what is minimised.
    optimizers: trained role -> optimizer.
    augmentation: the settings of `batches.augment`.
    steps_per_epoch: for the epoch that methods and AWP are given.
    wrappers: change how gradients are computed, innermost first; each takes
      and returns a function like `gradients.of_method` returns.
    microbatches: parts of a batch that are attacked one after the other;
      `rows` then have an axis [microbatches].

  Returns:
    step(state, rows, data, key) -> (state, metrics), with collectives over
    `parallel.AXIS`. `rows` are this device's part of the batch, `data` and
    the training `key` are replicated (where `rows` are `batches.Streamed`,
    `data` is a dummy scalar).
  """
  compute_gradients = gradients_lib.of_method(method)
  for wrap in wrappers:
    compute_gradients = wrap(compute_gradients)

  def step(state, rows, data, key):
    nets = {r: state.nets[r] for r in (*method.trained, *method.fixed)}
    params = {role: nets[role].params for role in method.trained}
    epoch = state.step // steps_per_epoch

    pool = None
    if method.draws_by_class:
      pool = batches.Pool(data, **augmentation)

    def attacked(rows):
      batch, keys = make_batch(rows, data, key, state.step, augmentation)
      batch = batch._replace(epoch=epoch)
      return attack(method, nets, batch, keys, pool)

    # All microbatches are attacked before the networks change.
    examples = (
      attacked(rows) if microbatches == 1 else jax.lax.map(attacked, rows)
    )
    result = compute_gradients(params, nets, examples)
    # pmap does not sum the gradients of replicated parameters by itself.
    grads, metrics = jax.lax.pmean(
      (result.grads, result.metrics), parallel.AXIS
    )
    result = result._replace(grads=grads, metrics=metrics)
    return update(state, result, params, optimizers)

  return step


def map_train_step(step: Callable, *, devices=None) -> Callable:
  """Maps the step over devices; the state is donated.

  Nothing is compiled here: that happens at the first call.

  Args:
    step: from `make_train_step`.
    devices: of all processes by default.
  """
  return parallel.pmap(
    step,
    split=(False, True, False, False),
    out=False,
    donate=(0,),
    devices=devices,
  )
