"""The two terms of MART; AGKD-BML can use them too.

Reference:
  Wang et al., Improving Adversarial Robustness Requires Revisiting
  Misclassified Examples, 2020; constants of the authors' code.
"""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax.losses import classes


def runner_up(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """The second term of MART's boosted cross-entropy.

  The first term is the ordinary cross-entropy. This one is
  -log(1.0001 - p + 1e-12), with p the largest probability of a wrong class.

  Args:
    logits: [..., C].
    labels: int [...].

  Returns:
    [...].
  """
  probs = jax.nn.softmax(logits)
  # The authors' code takes the largest probability, or the second largest
  # where the largest is the label's: the same class.
  p = classes.at_class(probs, classes.most_confusing(logits, labels))
  return -jnp.log(1.0001 - p + 1e-12)


def misclassification_kl(
  clean_logits: chex.Array, adv_logits: chex.Array, labels: chex.Array
) -> chex.Array:
  """MART's KL(clean || adversarial), weighted by 1.0000001 - p_y.

  p_y is the label's probability on the clean image: the less certain it is,
  the larger the weight. Both the KL's target and the weight carry gradient, as
  in the authors' code.

  Args:
    clean_logits, adv_logits: [..., C].
    labels: int [...].

  Returns:
    [...].
  """
  chex.assert_equal_shape([clean_logits, adv_logits])
  log_clean = jax.nn.log_softmax(clean_logits)
  clean = jnp.exp(log_clean)
  log_adv = jnp.log(jax.nn.softmax(adv_logits) + 1e-12)
  of_label = classes.at_class(clean, labels)
  divergence = jnp.sum(clean * (log_clean - log_adv), axis=-1)
  return divergence * (1.0000001 - of_label)
