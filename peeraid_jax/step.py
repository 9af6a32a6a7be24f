"""The one program: attack, losses, gradients and updates of all roles."""

from collections.abc import Callable, Mapping
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import optax

from peeraid_jax import awp as awp_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax import parallel
from peeraid_jax.data import batches
from peeraid_jax.methods import base


class State(flax.struct.PyTreeNode):
  """All that training changes.

  Attributes:
    step: int32, steps taken.
    nets: role -> network; 'student_swa' is the averaged student.
    opt_states: role -> optimizer state.
    swa_count: int32, how many students the average holds.
  """

  step: chex.Array
  nets: dict[str, nets_lib.Net]
  opt_states: dict[str, Any]
  swa_count: chex.Array


@jax.jit
def _copied(tree):
  """A copy of all arrays, by one program instead of one for each shape."""
  return jax.tree.map(jnp.copy, tree)


def create_state(
  nets: Mapping[str, nets_lib.Net],
  optimizers: Mapping[str, optax.GradientTransformation],
  *,
  swa: bool,
) -> State:
  """Builds the initial state of a run.

  Args:
    nets: role -> initialised network.
    optimizers: trained role -> optimizer.
    swa: whether the student is averaged.
  """
  nets = dict(nets)

  # Jitted for the sake of time, as `_copied`.
  @jax.jit
  def begin(params):
    return {r: o.init(params[r]) for r, o in optimizers.items()}

  opt_states = begin({r: nets[r].params for r in optimizers})
  if swa:
    # A copy: a donated argument must not name one buffer twice.
    nets['student_swa'] = _copied(nets['student'])
  zero = jnp.zeros((), jnp.int32)
  return State(zero, nets, opt_states, jnp.copy(zero))


def make_train_step(
  method: base.Method,
  optimizers: Mapping[str, optax.GradientTransformation],
  *,
  padding: int,
  flip: bool,
  steps_per_epoch: int = 1,
  awp: awp_lib.AWP | None = None,
  microbatches: int = 1,
  craft_part: int = 0,
) -> Callable:
  """Returns the per-device training step.

  Args:
    method: what is crafted and what is minimised.
    optimizers: trained role -> optimizer.
    padding, flip: augmentation, as in `batches.augment`.
    steps_per_epoch: tells methods and AWP the epoch of a step.
    awp: perturbs weights before the gradients that train; None does not.
    microbatches: parts of a batch whose gradients are averaged, one after the
      other; `rows` then have such an axis, and batch norm sees parts.
    craft_part: how many examples are attacked at a time, at most, where the
      method attacks each by itself; 0 takes all. The result is the same, but
      what is computed with may stay in a cache.

  Returns:
    step(state, rows, data, key) -> (state, metrics), with collectives over
    `parallel.AXIS`. `rows` are this device's part of the batch, `data` and
    the run's `key` are replicated (where `rows` are `batches.Streamed`,
    `data` is any number); the noise of an example depends on the
    key, the step and its place in the global batch alone.
  """
  roles = (*method.trained, *method.fixed)

  def with_pool(batch, data):
    if not method.draws_by_class:
      return batch
    return batch._replace(pool=batches.Pool(data, padding=padding, flip=flip))

  def attack(nets, batch, keys):
    """Crafts a batch, part by part where it is the same."""
    size = len(batch.labels)
    most = craft_part if method.per_example else 0
    each = max((n for n in range(1, most + 1) if size % n == 0), default=0)
    if 2 * each <= most or each == size:
      return method.craft(nets, batch, keys)

    def one(part):
      images, labels, keys = part
      return method.craft(
        nets, batch._replace(images=images, labels=labels), keys
      )

    made = jax.lax.map(
      one,
      jax.tree.map(
        lambda x: x.reshape(-1, each, *x.shape[1:]),
        (batch.images, batch.labels, keys),
      ),
    )
    return jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), made)

  def craft(nets, rows, data, key, step):
    """Makes a batch and attacks it; returns (batch, adv, keys)."""
    keys = batches.keys_of(jax.random.fold_in(key, step), rows.position)
    keys = jax.vmap(lambda k: jax.random.split(k, 3))(keys)
    raw = rows.read(data)
    images = batches.augment(raw.images, keys[:, 0], padding=padding, flip=flip)
    batch = raw._replace(images=images, epoch=step // steps_per_epoch)
    adv = attack(nets, with_pool(batch, data), keys[:, 1])
    return batch, jax.lax.stop_gradient(adv), keys

  def gradients(params, nets, crafted, data):
    """Returns ((loss, (nets, metrics)), gradients) of one crafted batch."""
    batch, adv, keys = crafted

    def joint_loss(params):
      current = {
        role: net.replace(params=params.get(role, net.params))
        for role, net in nets.items()
      }
      return method.loss(current, with_pool(batch, data), adv, keys[:, 2])

    return jax.value_and_grad(joint_loss, has_aux=True)(params)

  def over_parts(function, nets, parts):
    """Runs `function(nets, part) -> (nets, sums)` over microbatches.

    Running statistics go from one to the next; `sums` are averaged.
    """
    if microbatches == 1:
      return function(nets, parts)

    def with_stats(stats):
      return {
        role: net.replace(batch_stats=stats[role]) for role, net in nets.items()
      }

    def body(carry, part):
      stats, total = carry
      moved, sums = function(with_stats(stats), part)
      stats = {role: net.batch_stats for role, net in moved.items()}
      return (stats, jax.tree.map(jnp.add, total, sums)), None

    stats = {role: net.batch_stats for role, net in nets.items()}
    first = jax.tree.map(lambda x: x[0], parts)
    _, shapes = jax.eval_shape(function, nets, first)
    # One sum, and not the gradients of each part beside each other.
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (stats, total), _ = jax.lax.scan(body, (stats, zeros), parts)
    return with_stats(stats), jax.tree.map(lambda x: x / microbatches, total)

  def step(state, rows, data, key):
    begun = {role: state.nets[role] for role in roles}
    params = {role: begun[role].params for role in method.trained}

    def crafted(part):
      # All microbatches are attacked as the step found the networks.
      return craft(begun, part, data, key, state.step)

    parts, attacked = rows, crafted
    perturbed, moved = dict(params), {}
    if awp is not None:
      # Two passes over the same images: attacked once.
      several = microbatches > 1
      parts = jax.lax.map(crafted, rows) if several else crafted(rows)
      attacked = lambda part: part

      def ascend(nets, part):
        return nets, gradients(params, nets, part, data)[1]

      # This pass leaves no trace but the direction: its running statistics
      # are dropped.
      _, ascent = over_parts(ascend, begun, parts)
      ascent = jax.lax.pmean(ascent, parallel.AXIS)
      epoch = state.step // steps_per_epoch
      gamma = jnp.where(epoch >= awp.start_epoch, awp.gamma, 0.0)
      for role in awp.roles:
        moved[role] = awp_lib.perturbation(
          params[role], ascent[role], gamma=gamma
        )
        perturbed[role] = optax.apply_updates(params[role], moved[role])

    def descend(nets, part):
      (loss, (nets, metrics)), grads = gradients(
        perturbed, nets, attacked(part), data
      )
      return nets, (grads, {'loss': loss, **metrics})

    nets, sums = over_parts(descend, begun, parts)
    # pmap does not sum the gradients of replicated parameters by itself.
    grads, metrics = jax.lax.pmean(sums, parallel.AXIS)

    opt_states = dict(state.opt_states)
    for role in method.trained:
      updates, opt_states[role] = optimizers[role].update(
        grads[role], opt_states[role], perturbed[role]
      )
      # As the authors do: the optimizer, its decay included, works at the
      # perturbed weights, and then the perturbation is taken back.
      new_params = optax.apply_updates(perturbed[role], updates)
      if role in moved:
        new_params = jax.tree.map(jnp.subtract, new_params, moved[role])
      nets[role] = nets[role].replace(params=new_params)
      metrics[f'{role}/grad_norm'] = optax.tree.norm(grads[role])
    new = state.replace(
      step=state.step + 1,
      nets={**state.nets, **nets},
      opt_states=opt_states,
    )
    return new, metrics

  return step


def compile_train_step(step: Callable, *, devices=None) -> Callable:
  """Maps the step over the devices; the state is donated."""
  return parallel.pmap(
    step,
    split=(False, True, False, False),
    out=False,
    donate=(0,),
    devices=devices,
  )
