"""Adversarial training with PGD, as PeerAiD's repository runs its baseline.

Reference:
  Madry et al., Towards Deep Learning Models Resistant to Adversarial
  Attacks, 2018. The attack sees running statistics (eval mode), as in
  PeerAiD's code and unlike in Rice et al.'s.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base


def pgd_at(maximise: base.Maximise) -> base.Method:
  """Returns PGD-AT: cross-entropy on adversarial images alone.

  Args:
    maximise: the inner maximisation; the authors start it uniformly in the
      ball.
  """

  def loss(nets, batch, adv, keys):
    del keys
    output, student = nets['student'].train(adv['images'])
    value = losses.cross_entropy(output.logits, batch.labels).mean()
    metrics = {
      'student/loss_ce': value,
      'student/adv_accuracy': base.accuracy(output.logits, batch.labels),
    }
    return value, ({**nets, 'student': student}, metrics)

  craft = base.ascend_cross_entropy(maximise)
  return base.Method(('student',), (), craft, loss)
