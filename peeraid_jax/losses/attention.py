"""Attention maps and metric learning of AGKD-BML.

Reference:
  Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention
  Guided Knowledge Distillation and Bi-directional Metric Learning, 2021.
"""

import chex
import jax.numpy as jnp


def attention_map(features: chex.Array) -> chex.Array:
  """Sums a feature map over channels and scales it to [0, 1] per example.

  Minimum and maximum carry gradient, as in the authors' code. A constant map
  becomes zeros; the authors' code divides 0 by 0 there.

  Args:
    features: [B, h, w, channels].

  Returns:
    float32 [B, h, w].
  """
  chex.assert_rank(features, 4)
  total = jnp.sum(
    features, axis=-1, dtype=jnp.promote_types(features.dtype, jnp.float32)
  )
  raised = total - jnp.min(total, axis=(1, 2), keepdims=True)
  highest = jnp.max(raised, axis=(1, 2), keepdims=True)
  is_constant = highest == 0
  # The inner `where` keeps the gradient finite.
  return jnp.where(is_constant, 0, raised / jnp.where(is_constant, 1, highest))


def angular_distance(u: chex.Array, v: chex.Array) -> chex.Array:
  """1 - |cos(u, v)|, at least 0.

  Args:
    u, v: [..., D].

  Returns:
    [...].
  """
  chex.assert_equal_shape([u, v])
  product = jnp.abs(jnp.sum(u * v, axis=-1))
  # A vector of zeros has no angle; the bound keeps its gradient finite.
  squares = jnp.sum(u * u, axis=-1) * jnp.sum(v * v, axis=-1)
  norms = jnp.sqrt(jnp.maximum(squares, 1e-24))
  return 1 - jnp.minimum(product, norms) / norms


def triplet(
  anchor: chex.Array,
  positive: chex.Array,
  negative: chex.Array,
  *,
  margin: float,
) -> chex.Array:
  """Hinge on angular distances: max(0, margin + D(a, p) - D(a, n)).

  Args:
    anchor, positive, negative: [..., D].
    margin: by which the negative should be farther than the positive.

  Returns:
    [...].

  Reference:
    The distance is that of Mao et al., Metric Learning for Adversarial
    Robustness (TLA), 2019.
  """
  to_positive = angular_distance(anchor, positive)
  to_negative = angular_distance(anchor, negative)
  return jnp.maximum(0, margin + to_positive - to_negative)
