"""Losses per example, class axis last, no mean.

Temperatures and their squares are explicit at the call.
"""

import chex
import jax
import jax.numpy as jnp


def cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Cross-entropy against integer labels.

  Args:
    logits: [..., C].
    labels: int [...].

  Returns:
    [...].
  """
  chex.assert_equal_shape_prefix([logits, labels], labels.ndim)
  log_probs = jax.nn.log_softmax(logits)
  return -jnp.take_along_axis(log_probs, labels[..., None], -1)[..., 0]


def kl(
  target_logits: chex.Array, logits: chex.Array, *, temperature: float = 1.0
) -> chex.Array:
  """KL(softmax(target / T) || softmax(logits / T)), summed over classes.

  It is differentiable in both arguments; stop a gradient at the call.
  PyTorch's default `KLDivLoss` divides its batch mean by the number of
  classes as well: see `kl_mean`.

  Args:
    target_logits: [..., C], of the distribution that is imitated.
    logits: [..., C].
    temperature: T, divides both.

  Returns:
    [...].
  """
  chex.assert_equal_shape([target_logits, logits])
  target = jax.nn.log_softmax(target_logits / temperature)
  log_probs = jax.nn.log_softmax(logits / temperature)
  return jnp.sum(jnp.exp(target) * (target - log_probs), axis=-1)


def kl_mean(
  target_logits: chex.Array, logits: chex.Array, *, temperature: float = 1.0
) -> chex.Array:
  """`kl` divided by the number of classes.

  Its batch mean is PyTorch's `KLDivLoss()` with the default reduction, which
  PeerAiD, ARD and RSLAD use, and which is 10, 100 or 200 times smaller than
  'batchmean' on CIFAR-10, CIFAR-100 or TinyImageNet.
  """
  value = kl(target_logits, logits, temperature=temperature)
  return value / logits.shape[-1]


def margin(
  logits: chex.Array, labels: chex.Array, *, kappa: float = 50.0
) -> chex.Array:
  """Carlini and Wagner's margin, as an attack maximises it.

  -max(z_y - max_{j != y} z_j + kappa, 0); with kappa 50 it is practically
  never clipped.

  Args:
    logits: [..., C].
    labels: int [...].
    kappa: margin by which a wrong class should win before the loss is flat.

  Returns:
    [...].

  Reference:
    Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks,
    2017 (the Linf variant of adversarial distillation's tables).
  """
  chex.assert_equal_shape_prefix([logits, labels], labels.ndim)
  true = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  right = jnp.sum(jnp.where(true, logits, 0), axis=-1)
  wrong = jnp.max(jnp.where(true, -jnp.inf, logits), axis=-1)
  return -jnp.maximum(right - wrong + kappa, 0)
