"""ARD: the student's adversarial predictions follow the teacher's clean ones.

Reference:
  Goldblum et al., Adversarially Robust Distillation, 2020.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base


def ard(
  maximise: base.Maximise,
  *,
  alpha: float = 1.0,
  temperature: float = 30.0,
  reduction: str = 'batchmean',
  train_mode_attack: bool = False,
) -> base.Method:
  """Returns ARD: alpha T^2 KL(t(x) || s(x*)) + (1 - alpha) CE(s(x), y).

  The authors' code differs from the paper in three ways. It divides KL by
  the number of classes (reduction='mean'); it attacks the student in train
  mode (train_mode_attack=True); and its second decay of the learning rate
  never happens (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    alpha: weight of the teacher, in [0, 1].
    temperature: T, of both networks.
    reduction: of KL over classes, 'batchmean' or 'mean'.
    train_mode_attack: attack with batch statistics, and let every attack
      step update the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)
  base.check_temperatures(temperature=temperature)
  base.check_choice('reduction', reduction, base.REDUCTIONS)

  craft = base.ascend_cross_entropy(maximise, train_mode=train_mode_attack)

  def loss(nets, batch, adv, keys):
    del keys
    student = base.attacked(nets['student'], adv)
    robust, student = student.train(adv['images'])
    # At the default alpha the clean pass has no weight; it still moves the
    # running statistics, as in the authors' code.
    clean, student = student.train(batch.images)
    teacher = jax.lax.stop_gradient(nets['teacher'].eval(batch.images).logits)
    divergence = base.REDUCTIONS[reduction](
      teacher, robust.logits, temperature=temperature
    )
    terms = {
      'student/loss_kl_teacher': alpha * temperature**2 * divergence.mean(),
      'student/loss_ce': (1 - alpha)
      * losses.cross_entropy(clean.logits, batch.labels).mean(),
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
      'teacher/clean_accuracy': base.accuracy(teacher, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(
    ('student',), ('teacher',), craft, loss, per_example=not train_mode_attack
  )
