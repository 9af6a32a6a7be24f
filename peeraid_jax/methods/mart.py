"""MART: misclassification-aware adversarial training.

Reference:
  Wang et al., Improving Adversarial Robustness Requires Revisiting
  Misclassified Examples, 2020.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base


def mart(maximise: base.Maximise, *, beta: float = 5.0) -> base.Method:
  """Returns MART: BCE(f(x*), y) + beta KL(f(x) || f(x*)) (1 - f_y(x)).

  Nothing is detached, as in the authors' code.

  Args:
    maximise: the inner maximisation, of the cross-entropy.
    beta: weight of the divergence; the authors' is 5 for ResNet-18 and 6
      for WideResNet-34-10.

  Raises:
    ValueError: beta is negative.
  """
  base.check_weights(beta=beta)

  craft = base.ascend_cross_entropy(maximise)

  def loss(nets, batch, adv, keys):
    del keys
    # The authors pass the clean batch first.
    clean, student = nets['student'].train(batch.images)
    robust, student = student.train(adv['images'])
    n, s = clean.logits, robust.logits
    terms = {
      'student/loss_ce': losses.cross_entropy(s, batch.labels).mean(),
      'student/loss_runner_up': losses.runner_up(s, batch.labels).mean(),
      'student/loss_kl_clean': beta
      * losses.misclassification_kl(n, s, batch.labels).mean(),
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(s, batch.labels),
      'student/clean_accuracy': base.accuracy(n, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(('student',), (), craft, loss)
