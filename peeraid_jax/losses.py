"""Losses per example, class axis last, no mean.

Temperatures and their squares are explicit at the call.
"""

import chex
import jax
import jax.numpy as jnp


def _pick(values, index):
  return jnp.take_along_axis(values, index[..., None], -1)[..., 0]


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
  return -_pick(log_probs, labels)


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


def most_confusing(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the wrong class with the largest logit.

  Args:
    logits: [..., C].
    labels: int [...].

  Returns:
    int [...].
  """
  true = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  return jnp.argmax(jnp.where(true, -jnp.inf, logits), axis=-1)


def lead(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns z_y - max_{j != y} z_j, negative where misclassified.

  Args:
    logits: [..., C], C at least 2.
    labels: int [...].

  Returns:
    [...].
  """
  wrong = most_confusing(logits, labels)
  return _pick(logits, labels) - _pick(logits, wrong)


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
  return -jnp.maximum(lead(logits, labels) + kappa, 0)


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
  """Cross-entropy against labels that are right with 1 - smoothing.

  The rest is spread over the other classes, as in AGKD-BML's code; PyTorch
  spreads it over all of them.

  Args:
    logits: [..., C].
    labels: int [...].
    smoothing: probability of the other classes together.

  Returns:
    [...].
  """
  classes = logits.shape[-1]
  true = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
  rest = smoothing / max(classes - 1, 1)
  return soft_cross_entropy(true * (1 - smoothing - rest) + rest, logits)


def runner_up(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """MART's second half of the boosted cross-entropy.

  -log(1.0001 - p + 1e-12) with p the largest probability of a wrong class.

  Args:
    logits: [..., C].
    labels: int [...].

  Returns:
    [...].

  Reference:
    Wang et al., Improving Adversarial Robustness Requires Revisiting
    Misclassified Examples, 2020; constants of the authors' code.
  """
  # By logits, as top-1 or, where that is the label, top-2.
  p = _pick(jax.nn.softmax(logits), most_confusing(logits, labels))
  return -jnp.log(1.0001 - p + 1e-12)


def misclassification_kl(
  clean_logits: chex.Array, adv_logits: chex.Array, labels: chex.Array
) -> chex.Array:
  """MART's KL(clean || adversarial), heavier where the clean one is unsure.

  Both the target and the weight 1.0000001 - p_y carry gradient, as in the
  authors' code.

  Args:
    clean_logits, adv_logits: [..., C].
    labels: int [...].

  Returns:
    [...].

  Reference:
    As of `runner_up`.
  """
  chex.assert_equal_shape([clean_logits, adv_logits])
  log_clean = jax.nn.log_softmax(clean_logits)
  clean = jnp.exp(log_clean)
  log_adv = jnp.log(jax.nn.softmax(adv_logits) + 1e-12)
  right = _pick(clean, labels)
  divergence = jnp.sum(clean * (log_clean - log_adv), axis=-1)
  return divergence * (1.0000001 - right)


def attention_map(features: chex.Array) -> chex.Array:
  """AGKD's attention: channels summed, scaled to [0, 1] per example.

  Minimum and maximum carry gradient, as in the authors' code. A constant map
  becomes zeros (there 0 / 0).

  Args:
    features: [B, h, w, channels].

  Returns:
    float32 [B, h, w].

  Reference:
    Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention
    Guided Knowledge Distillation and Bi-directional Metric Learning, 2021.
  """
  chex.assert_rank(features, 4)
  total = jnp.sum(
    features, axis=-1, dtype=jnp.promote_types(features.dtype, jnp.float32)
  )
  raised = total - jnp.min(total, axis=(1, 2), keepdims=True)
  highest = jnp.max(raised, axis=(1, 2), keepdims=True)
  flat = highest == 0
  return jnp.where(flat, 0, raised / jnp.where(flat, 1, highest))


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
    margin: by which the negative should be farther.

  Returns:
    [...].

  Reference:
    As of `attention_map`; the distance is TLA's (Mao et al., Metric Learning
    for Adversarial Robustness, 2019).
  """
  near = angular_distance(anchor, positive)
  far = angular_distance(anchor, negative)
  return jnp.maximum(0, margin + near - far)


def dlr(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Difference of logits ratio: -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).

  With two classes the denominator is left out: it would be the numerator.

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

  With three classes the denominator is DLR's, with two there is none.

  Args:
    logits: [..., C], C at least 2.
    labels, targets: int [...].

  Returns:
    [...].

  Reference:
    As of `dlr`.
  """
  difference = _pick(logits, targets) - _pick(logits, labels)
  classes = logits.shape[-1]
  if classes < 3:
    return difference
  top = jax.lax.top_k(logits, min(classes, 4))[0]
  low = top[..., 2:].mean(axis=-1)
  return difference / (top[..., 0] - low + 1e-12)
