"""Parts of losses that several distillation methods share."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import losses
from peeraid_jax import nets as nets_lib
from peeraid_jax.methods import base


def attack_labels(
  facts: base.Facts,
  maximise: base.Maximise,
  loss: Callable[..., Any],
  train_mode: bool,
) -> base.Method:
  """Returns a method that attacks the student's cross-entropy and distils.

  Args:
    facts: the method's facts; they name its teachers.
    maximise: the inner maximisation.
    loss: the loss, as `base.Method` describes it.
    train_mode: attack with batch statistics, so that every attack step
      updates the running ones.
  """
  craft = base.ascend_cross_entropy(maximise, train_mode=train_mode)
  return base.Method(
    ('student',),
    tuple(facts.teachers),
    craft,
    loss,
    per_example=not train_mode,
  )


def teacher_logits(
  teacher: nets_lib.Net, *images: chex.Array
) -> tuple[chex.Array, ...]:
  """Returns a teacher's logits in eval mode, without gradient.

  Args:
    teacher: the network.
    *images: batches [B, H, W, C].

  Returns:
    One [B, C] for each batch.
  """
  return jax.lax.stop_gradient(tuple(teacher.eval(x).logits for x in images))


def introspection(
  beta: float,
  begin_epoch: int,
  temperature: float,
  *,
  self_temperature: float | None = None,
  weight_teacher: bool = True,
) -> Callable[..., tuple[chex.Array, chex.Array]]:
  """Returns a function that computes IAD's two terms per example.

  The student trusts its teacher by a = t_y(x*)^beta. With T and T' the two
  temperatures, after the warm-up:

    a T^2 KL(target || robust)   and   (1 - a) T'^2 KL(clean || robust)

  During the warm-up the first has full weight and the second none.

  Args:
    beta: exponent of the trust; below 1 it raises small probabilities.
    begin_epoch: first epoch (from 0) after the warm-up.
    temperature: T, of the teacher's term.
    self_temperature: T', of the student's own term; T if None.
    weight_teacher: whether the teacher's term is multiplied by a.

  Returns:
    (target, on_adv, clean, robust, batch) -> ([B], [B]), where all but the
    batch are logits [B, C]: the teacher's that are imitated, the teacher's on
    adversarial images, and the student's on clean and on adversarial images.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  if self_temperature is None:
    self_temperature = temperature
  base.check_weights(beta=beta, begin_epoch=begin_epoch)
  base.check_temperatures(
    temperature=temperature, self_temperature=self_temperature
  )

  def introspect(target, on_adv, clean, robust, batch):
    begun = batch.epoch >= begin_epoch
    trust = jnp.exp(-beta * losses.cross_entropy(on_adv, batch.labels))
    from_teacher = losses.kl(target, robust, temperature=temperature)
    from_itself = losses.kl(clean, robust, temperature=self_temperature)
    if weight_teacher:
      from_teacher *= jnp.where(begun, trust, 1)
    from_itself *= jnp.where(begun, 1 - trust, 0)
    return temperature**2 * from_teacher, self_temperature**2 * from_itself

  return introspect


def statistics_if(
  condition: chex.Array, chosen: nets_lib.Net, otherwise: nets_lib.Net
) -> nets_lib.Net:
  """Returns `chosen`; if `condition` is false, with `otherwise`'s statistics.

  For passes that authors make only from some epoch on.

  Args:
    condition: bool scalar.
    chosen: a network after the pass.
    otherwise: the same network without it.
  """
  return chosen.replace(
    batch_stats=jax.tree.map(
      lambda a, b: jnp.where(condition, a, b),
      chosen.batch_stats,
      otherwise.batch_stats,
    )
  )
