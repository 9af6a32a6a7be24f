"""Adversarial weight perturbation, for any method.

Reference:
  Wu, Xia and Wang, Adversarial Weight Perturbation Helps Robust
  Generalization, 2020.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from peeraid_jax.runtime import parallel
from peeraid_jax.training.gradients import ComputeGradients, Gradients

# As the authors guard the norm of a gradient that is 0.
_TINY = 1e-20


def perturbation(params: Any, grads: Any, *, gamma: chex.Numeric) -> Any:
  """Returns the perturbation that raises the loss.

  Kernels move along their gradient by `gamma` times their own norm, as one
  normalised step of gradient ascent does; scales, biases and other vectors
  do not move.

  Args:
    params: of one network.
    grads: of the loss, the same on all devices.
    gamma: length, relative to each kernel's norm.

  Returns:
    The perturbation, to be added to `params`; of the same structure.
  """

  def one(weight, grad):
    if weight.ndim < 2:
      return jnp.zeros_like(weight)
    norm = jnp.linalg.norm(weight.ravel())
    scale = norm / (jnp.linalg.norm(grad.ravel()) + _TINY)
    return gamma * scale * grad

  return jax.tree.map(one, params, grads)


def with_perturbation(
  gamma: float, start_epoch: int, roles: tuple[str, ...]
) -> Callable[[ComputeGradients], ComputeGradients]:
  """Returns a wrapper that takes gradients at perturbed weights.

  Two passes over the same adversarial images: the first finds the direction
  in which the loss rises, and its running statistics are dropped; the second
  computes the gradients that train, at the perturbed weights.

  Args:
    gamma: length of the perturbation, relative to each kernel's norm.
    start_epoch: first epoch (from 0) with a perturbation.
    roles: networks that are perturbed.
  """

  def wrap(compute: ComputeGradients) -> ComputeGradients:
    def perturbed(params, nets, examples) -> Gradients:
      ascent = compute(params, nets, examples).grads
      ascent = jax.lax.pmean(ascent, parallel.AXIS)
      epoch = jnp.max(examples.batch.epoch)
      length = jnp.where(epoch >= start_epoch, gamma, 0.0)
      perturbations = {
        role: perturbation(params[role], ascent[role], gamma=length)
        for role in roles
      }
      weights = dict(params)
      for role in roles:
        weights[role] = optax.apply_updates(params[role], perturbations[role])
      result = compute(weights, nets, examples)
      return result._replace(perturbations=perturbations)

    return perturbed

  return wrap
