"""RSLAD: a robust teacher's clean predictions are all the labels there are.

Reference:
  Zi et al., Revisiting Adversarial Robustness Distillation: Robust Soft
  Labels Make Student Better, 2021.
"""

import jax

from peeraid_jax.methods import base


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
  and multiplies both terms by 10 on CIFAR-100 (scale=10). The 1e-5 that it
  adds inside the logarithm of the target changes no gradient and is left out.

  Args:
    maximise: the inner maximisation, of KL(t(x) || s(x')).
    adversarial_weight, clean_weight: of the two terms.
    reduction: of KL over classes, 'batchmean' or 'mean'.
    scale: of both terms.

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

  def loss(nets, batch, adv, keys):
    del keys
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
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
      'teacher/clean_accuracy': base.accuracy(target, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(('student',), ('teacher',), craft, loss)
