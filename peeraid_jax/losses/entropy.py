"""Cross-entropies and the Kullback-Leibler divergence."""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.losses import classes


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
  return -classes.at_class(log_probs, labels)


def soft_cross_entropy(target: chex.Array, logits: chex.Array) -> chex.Array:
  """Cross-entropy against distributions.

  Args:
    target: [..., C], probabilities.
    logits: [..., C].

  Returns:
    [...].
  """
  chex.assert_equal_shape([target, logits])
  return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1)


def smoothed_cross_entropy(
  logits: chex.Array, labels: chex.Array, *, smoothing: float
) -> chex.Array:
  """Cross-entropy against smoothed labels.

  The label has probability 1 - smoothing, the other classes share the rest
  equally, as in AGKD-BML's code. PyTorch's `label_smoothing` differs: it
  spreads the rest over all classes, the label included.

  Args:
    logits: [..., C].
    labels: int [...].
    smoothing: probability of the other classes together.

  Returns:
    [...].
  """
  num_classes = logits.shape[-1]
  one_hot = jax.nn.one_hot(labels, num_classes, dtype=logits.dtype)
  of_others = smoothing / max(num_classes - 1, 1)
  target = one_hot * (1 - smoothing - of_others) + of_others
  return soft_cross_entropy(target, logits)


def kl(
  target_logits: chex.Array, logits: chex.Array, *, temperature: float = 1.0
) -> chex.Array:
  """KL(softmax(target / T) || softmax(logits / T)), summed over classes.

  The gradient flows to both arguments; callers stop it where it should not.
  `kl_mean` is PyTorch's `KLDivLoss` with the default reduction.

  Args:
    target_logits: [..., C], of the distribution to be imitated.
    logits: [..., C].
    temperature: T, divides both.

  Returns:
    [...].
  """
  chex.assert_equal_shape([target_logits, logits])
  log_target = jax.nn.log_softmax(target_logits / temperature)
  log_probs = jax.nn.log_softmax(logits / temperature)
  return jnp.sum(jnp.exp(log_target) * (log_target - log_probs), axis=-1)


def kl_mean(
  target_logits: chex.Array, logits: chex.Array, *, temperature: float = 1.0
) -> chex.Array:
  """`kl` divided by the number of classes.

  Its batch mean is PyTorch's `KLDivLoss()` with the default reduction, which
  PeerAiD, ARD and RSLAD use. It is 10, 100 or 200 times smaller than
  'batchmean' on CIFAR-10, CIFAR-100 or TinyImageNet.

  Args:
    target_logits, logits, temperature: as in `kl`.

  Returns:
    [...].
  """
  divergence = kl(target_logits, logits, temperature=temperature)
  return divergence / logits.shape[-1]
