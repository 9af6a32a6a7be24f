"""Gradients of a method's loss, and microbatches around them.

Every function here that computes gradients has one signature,
(params, nets, examples) -> `Gradients`: `of_method` builds the plain
one, `in_microbatches` and `awp.with_perturbation` wrap it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches
from peeraid_jax.methods import base


class Attacked(NamedTuple):
  """A batch and its adversarial images.

  Attributes:
    batch: augmented images and labels.
    adv: what the method's `craft` returned.
  """

  batch: batches.Batch
  adv: Any


class Gradients(NamedTuple):
  """Gradients of one batch.

  Attributes:
    grads: trained role -> gradient of its parameters.
    nets: role -> network, with the running statistics after the batch.
    metrics: scalars to log, the loss included.
    perturbations: role -> what was added to its parameters before the
      gradients were taken (AWP).
  """

  grads: dict[str, Any]
  nets: dict[str, nets_lib.Net]
  metrics: dict[str, chex.Array]
  perturbations: Mapping[str, Any] = {}


# (params, nets, examples: Attacked) -> Gradients
ComputeGradients = Callable[..., Gradients]


def of_method(method: base.Method) -> ComputeGradients:
  """Returns a function that computes the gradients of a method's loss.

  Args:
    method: its `loss` is minimised over its trained roles.
  """

  def compute(params, nets, examples: Attacked) -> Gradients:
    def joint_loss(params):
      current = {
        role: net.replace(params=params.get(role, net.params))
        for role, net in nets.items()
      }
      return method.loss(current, examples.batch, examples.adv)

    value_and_grad = jax.value_and_grad(joint_loss, has_aux=True)
    (loss, (new_nets, metrics)), grads = value_and_grad(params)
    return Gradients(grads, new_nets, {'loss': loss, **metrics})

  return compute


def in_microbatches(
  count: int,
) -> Callable[[ComputeGradients], ComputeGradients]:
  """Returns a wrapper that averages gradients over the parts of a batch.

  The parts are computed one after the other. Running statistics go from one
  to the next; gradients and metrics are summed as they come, so that only one
  part's activations and one sum of gradients are in memory.

  Args:
    count: number of parts; `examples` then have a leading axis [count].
  """

  def wrap(compute: ComputeGradients) -> ComputeGradients:
    def averaged(params, nets, examples) -> Gradients:
      def with_statistics(statistics):
        return {
          role: net.replace(batch_stats=statistics[role])
          for role, net in nets.items()
        }

      def part_result(statistics, part):
        result = compute(params, with_statistics(statistics), part)
        statistics = {r: net.batch_stats for r, net in result.nets.items()}
        return statistics, (result.grads, result.metrics)

      def body(carry, part):
        statistics, total = carry
        statistics, result = part_result(statistics, part)
        return (statistics, jax.tree.map(jnp.add, total, result)), None

      initial = {role: net.batch_stats for role, net in nets.items()}
      first = jax.tree.map(lambda x: x[0], examples)
      _, shapes = jax.eval_shape(part_result, initial, first)
      zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
      (statistics, total), _ = jax.lax.scan(body, (initial, zeros), examples)
      grads, metrics = jax.tree.map(lambda x: x / count, total)
      return Gradients(grads, with_statistics(statistics), metrics)

    return averaged

  return wrap
