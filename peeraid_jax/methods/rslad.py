"""RSLAD: a robust teacher's clean predictions are the only labels.

Reference:
  Zi et al., Revisiting Adversarial Robustness Distillation: Robust Soft
  Labels Make Student Better, 2021.
"""

import jax

from peeraid_jax.methods import base

FACTS = base.Facts(
  teachers={'teacher': 'trades'},
  teacher='wideresnet34x10',
  recipe=base.Recipe(300, (215, 260, 285), base.NO_AVERAGE),
)


def rslad(
  maximise: base.Maximise,
  *,
  adversarial_weight: float = 5 / 6,
  clean_weight: float = 1 / 6,
  reduction: str = 'batchmean',
  scale: float = 1.0,
) -> base.Method:
  """Returns RSLAD: 5/6 KL(t(x) || s(x*)) + 1/6 KL(t(x) || s(x)).

  The authors' code divides KL by the number of classes (reduction='mean'),
  and multiplies both terms by 10 on CIFAR-100 (scale=10). It adds 1e-5 inside
  the logarithm of the target, which changes no gradient; this is left out.

  Args:
    maximise: the inner maximisation, of KL(t(x) || s(x')).
    adversarial_weight, clean_weight: weights of the two terms.
    reduction: reduction of KL over classes, 'batchmean' or 'mean'.
    scale: factor of both terms.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(
    adversarial_weight=adversarial_weight,
    clean_weight=clean_weight,
    scale=scale,
  )
  base.check_choice('reduction', reduction, base.REDUCTIONS)
  divergence = base.REDUCTIONS[reduction]

  craft = base.ascend_divergence(maximise, 'teacher')

  def loss(nets, batch, adv):
    target = jax.lax.stop_gradient(adv['clean_logits'])
    robust, student = nets['student'].train(adv['images'])
    clean, student = student.train(batch.images)
    terms = {
      'student/loss_kl_teacher': scale
      * adversarial_weight
      * divergence(target, robust.logits).mean(),
      'student/loss_kl_teacher_clean': scale
      * clean_weight
      * divergence(target, clean.logits).mean(),
    }
    logits = {
      'student/adv': robust.logits,
      'student/clean': clean.logits,
      'teacher/clean': target,
    }
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return base.Method(('student',), ('teacher',), craft, loss)
