"""TRADES: clean accuracy and agreement in the ball, traded by one weight.

Reference:
  Zhang et al., Theoretically Principled Trade-off between Robustness and
  Accuracy, 2019.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base


def trades(maximise: base.Maximise, *, beta: float = 6.0) -> base.Method:
  """Returns TRADES: CE(f(x), y) + beta KL(f(x) || f(x*)).

  The clean prediction gets gradient as target too, as in the authors' code.

  Args:
    maximise: the inner maximisation, of KL(f(x) || f(x')).
    beta: weight of the robust term, 1 / lambda of the paper.

  Raises:
    ValueError: beta is negative.
  """
  base.check_weights(beta=beta)

  craft = base.ascend_divergence(maximise, 'student')

  def loss(nets, batch, adv, keys):
    del keys
    before = nets['student']
    clean, once = before.train(batch.images)
    robust, student = once.train(adv['images'])
    # The authors pass the clean batch again after the adversarial one: the
    # same logits, a third update of the running statistics.
    student = student.take_in_again(before, once)
    terms = {
      'student/loss_ce': losses.cross_entropy(
        clean.logits, batch.labels
      ).mean(),
      'student/loss_kl_clean': beta
      * losses.kl(clean.logits, robust.logits).mean(),
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(('student',), (), craft, loss)
