"""Adversarial weight perturbation, for any method.

Reference:
  Wu, Xia and Wang, Adversarial Weight Perturbation Helps Robust
  Generalization, 2020.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

# As the authors guard the norm of a gradient that is 0.
_TINY = 1e-20


class AWP(NamedTuple):
  """When and how far weights are perturbed.

  Attributes:
    gamma: length of the perturbation, relative to each weight tensor's norm.
    start_epoch: first epoch (from 0) with a perturbation.
    roles: networks that are perturbed.
  """

  gamma: float
  start_epoch: int = 0
  roles: tuple[str, ...] = ('student',)


def perturbation(params: Any, grads: Any, *, gamma: chex.Numeric) -> Any:
  """Returns the perturbation that raises the loss.

  Kernels move along their gradient by `gamma` times their own norm, as one
  normalised step of gradient ascent does; scales, biases and other vectors
  do not move.

  Args:
    params: of one network.
    grads: of the loss, the same on all devices.
    gamma: relative length.

  Returns:
    What is added to `params`, of the same structure.
  """

  def one(weight, grad):
    if weight.ndim < 2:
      return jnp.zeros_like(weight)
    norm = jnp.linalg.norm(weight.ravel())
    scale = norm / (jnp.linalg.norm(grad.ravel()) + _TINY)
    return gamma * scale * grad

  return jax.tree.map(one, params, grads)
