"""Selection along the class axis."""

import chex
import jax
import jax.numpy as jnp


def at_class(values: chex.Array, classes: chex.Array) -> chex.Array:
  """Returns each example's value at one class.

  Args:
    values: [..., C].
    classes: int [...].

  Returns:
    [...].
  """
  return jnp.take_along_axis(values, classes[..., None], -1)[..., 0]


def most_confusing(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the wrong class with the largest logit.

  Args:
    logits: [..., C].
    labels: int [...].

  Returns:
    int [...].
  """
  is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  return jnp.argmax(jnp.where(is_label, -jnp.inf, logits), axis=-1)
