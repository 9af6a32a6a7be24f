"""Margins between the label's logit and others, as attacks use them."""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.losses import classes


def lead(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns z_y - max_{j != y} z_j, negative where misclassified.

  Args:
    logits: [..., C], C at least 2.
    labels: int [...].

  Returns:
    [...].
  """
  runner_up = classes.most_confusing(logits, labels)
  of_label = classes.at_class(logits, labels)
  return of_label - classes.at_class(logits, runner_up)


def margin(
  logits: chex.Array, labels: chex.Array, *, kappa: float = 50.0
) -> chex.Array:
  """Carlini and Wagner's margin, to be maximised by an attack.

  -max(z_y - max_{j != y} z_j + kappa, 0); with kappa 50 it is practically
  never clipped.

  Args:
    logits: [..., C].
    labels: int [...].
    kappa: margin by which a wrong class has to win before the loss is flat.

  Returns:
    [...].

  Reference:
    Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks,
    2017 (the Linf variant of adversarial distillation's tables).
  """
  chex.assert_equal_shape_prefix([logits, labels], labels.ndim)
  return -jnp.maximum(lead(logits, labels) + kappa, 0)


def dlr(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Difference of logits ratio: -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).

  z_(i) is the i-th largest logit. With two classes there is no third one, and
  the denominator is left out.

  Args:
    logits: [..., C], C at least 2.
    labels: int [...].

  Returns:
    [...].

  Reference:
    Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
    Ensemble of Diverse Parameter-free Attacks, 2020.
  """
  difference = -lead(logits, labels)
  if logits.shape[-1] < 3:
    return difference
  top = jax.lax.top_k(logits, 3)[0]
  return difference / (top[..., 0] - top[..., 2] + 1e-12)


def targeted_dlr(
  logits: chex.Array, labels: chex.Array, targets: chex.Array
) -> chex.Array:
  """Targeted DLR: -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2).

  z_(i) is the i-th largest logit. The paper needs four classes; with three
  the denominator is that of `dlr`, with two it is left out.

  Args:
    logits: [..., C], C at least 2.
    labels, targets: int [...].

  Returns:
    [...].

  Reference:
    As in `dlr`.
  """
  of_target = classes.at_class(logits, targets)
  difference = of_target - classes.at_class(logits, labels)
  num_classes = logits.shape[-1]
  if num_classes < 3:
    return difference
  top = jax.lax.top_k(logits, min(num_classes, 4))[0]
  low = top[..., 2:].mean(axis=-1)
  return difference / (top[..., 0] - low + 1e-12)
