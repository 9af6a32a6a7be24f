"""PGD-AT: adversarial training with PGD, as in PeerAiD's repository.

Reference:
  Madry et al., Towards Deep Learning Models Resistant to Adversarial
  Attacks, 2018. The attack uses running statistics (eval mode), as in
  PeerAiD's code and unlike in Rice et al.'s.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base

FACTS = base.Facts(
  # AWP's paper perturbs PGD-AT by 0.01 from the first epoch on.
  defaults={**base.UNIFORM_START, 'awp.gamma': 0.01},
  recipe=base.Recipe(300, (214, 259, 284)),
)


def pgd_at(maximise: base.Maximise) -> base.Method:
  """Returns PGD-AT: cross-entropy on adversarial images alone.

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
  """

  def loss(nets, batch, adv):
    output, student = nets['student'].train(adv['images'])
    value = losses.cross_entropy(output.logits, batch.labels).mean()
    return base.joint(
      {'student/loss_ce': value},
      {**nets, 'student': student},
      batch.labels,
      {'student/adv': output.logits},
    )

  craft = base.ascend_cross_entropy(maximise)
  return base.Method(('student',), (), craft, loss)
