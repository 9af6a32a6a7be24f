"""MART: misclassification-aware adversarial training.

Reference:
  Wang et al., Improving Adversarial Robustness Requires Revisiting
  Misclassified Examples, 2020.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base

FACTS = base.Facts(
  recipe=base.Recipe(
    120,
    (74, 89, 99),
    {
      'attack.epsilon': 0.031,
      'attack.step_size': 0.007,
      'eval.step_size': 0.003,
      'optimizer.student.learning_rate': 0.01,
      'optimizer.student.weight_decay': 3.5e-3,
      **base.NO_AVERAGE,
    },
  ),
  recipes_by_student={
    'wideresnet': base.Recipe(
      90,
      (74, 89),
      {
        'attack.epsilon': 0.031,
        'attack.step_size': 0.007,
        'eval.step_size': 0.0031,
        'optimizer.student.weight_decay': 7e-4,
        'method.kwargs.beta': 6.0,
        **base.NO_AVERAGE,
      },
    )
  },
)


def mart(maximise: base.Maximise, *, beta: float = 5.0) -> base.Method:
  """Returns MART: BCE(f(x*), y) + beta KL(f(x) || f(x*)) (1 - f_y(x)).

  BCE is the cross-entropy plus `losses.runner_up`. Nothing is detached, as in
  the authors' code.

  Args:
    maximise: the inner maximisation, of the student's cross-entropy.
    beta: weight of the divergence; the authors use 5 for ResNet-18 and 6 for
      WideResNet-34-10.

  Raises:
    ValueError: beta is negative.
  """
  base.check_weights(beta=beta)

  craft = base.ascend_cross_entropy(maximise)

  def loss(nets, batch, adv):
    # The authors pass the clean batch first.
    clean, student = nets['student'].train(batch.images)
    robust, student = student.train(adv['images'])
    labels = batch.labels
    terms = {
      'student/loss_ce': losses.cross_entropy(robust.logits, labels).mean(),
      'student/loss_runner_up': losses.runner_up(robust.logits, labels).mean(),
      'student/loss_kl_clean': beta
      * losses.misclassification_kl(clean.logits, robust.logits, labels).mean(),
    }
    logits = {'student/adv': robust.logits, 'student/clean': clean.logits}
    return base.joint(terms, {**nets, 'student': student}, labels, logits)

  return base.Method(('student',), (), craft, loss)
