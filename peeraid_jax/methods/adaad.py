"""AdaAD: the attack looks for where student and teacher disagree.

Reference:
  Huang et al., Boosting Accuracy and Robustness of Student Models via
  Adaptive Adversarial Distillation, 2023.
"""

import chex

from peeraid_jax import losses
from peeraid_jax.methods import base, distillation

FACTS = base.Facts(
  teachers={'teacher': 'pgd_at'},
  teacher='wideresnet34x10',
  recipe=base.Recipe(
    200,
    (100, 150),
    {'optimizer.student.weight_decay': 5e-4, **base.NO_AVERAGE},
  ),
)


def ascend_disagreement(maximise: base.Maximise):
  """Returns a `craft` that maximises KL(t(x') || s(x')) in x'.

  Args:
    maximise: the inner maximisation.
  """

  def craft(nets, batch, keys):
    def objective(images):
      # The gradient flows through both networks.
      return losses.kl(
        nets['teacher'].eval(images).logits,
        nets['student'].eval(images).logits,
      )

    return maximise(objective, batch.images, keys)

  return craft


def predictions(clean, robust, on_clean, on_adv) -> dict[str, chex.Array]:
  """Returns the logits [B, C] whose accuracies AdaAD and AdaIAD log."""
  return {
    'student/adv': robust.logits,
    'student/clean': clean.logits,
    'teacher/adv': on_adv,
    'teacher/clean': on_clean,
  }


def adaad(
  maximise: base.Maximise, *, alpha: float = 1.0, reduction: str = 'batchmean'
) -> base.Method:
  """Returns AdaAD: alpha KL(t(x*) || s(x*)) + (1 - alpha) KL(t(x) || s(x)).

  The authors' code divides KL by the number of classes on CIFAR-10
  (reduction='mean') and does not on CIFAR-100.

  Args:
    maximise: the inner maximisation, of KL(t(x') || s(x')).
    alpha: weight of the adversarial images, in [0, 1].
    reduction: reduction of KL over classes, 'batchmean' or 'mean'.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)
  base.check_choice('reduction', reduction, base.REDUCTIONS)
  divergence = base.REDUCTIONS[reduction]

  def loss(nets, batch, adv):
    # The authors pass the clean batch first.
    clean, student = nets['student'].train(batch.images)
    robust, student = student.train(adv)
    on_clean, on_adv = distillation.teacher_logits(
      nets['teacher'], batch.images, adv
    )
    terms = {
      'student/loss_kl_teacher': alpha
      * divergence(on_adv, robust.logits).mean(),
      'student/loss_kl_teacher_clean': (1 - alpha)
      * divergence(on_clean, clean.logits).mean(),
    }
    logits = predictions(clean, robust, on_clean, on_adv)
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  craft = ascend_disagreement(maximise)
  return base.Method(('student',), ('teacher',), craft, loss)
