"""ARD: the student's adversarial predictions follow the teacher's clean ones.

Reference:
  Goldblum et al., Adversarially Robust Distillation, 2020.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base, distillation

FACTS = base.Facts(
  teachers={'teacher': 'trades'},
  student='mobilenetv2',
  teacher='wideresnet34x10',
  defaults=base.UNIFORM_START,
  recipe=base.Recipe(200, (100, 150), base.NO_AVERAGE),
  fields_by_data={'cifar100': {'train.batch_size': 256}},
)


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
  has no effect (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    alpha: weight of the teacher, in [0, 1].
    temperature: T, of both networks.
    reduction: reduction of KL over classes, 'batchmean' or 'mean'.
    train_mode_attack: attack with batch statistics, so that every attack
      step updates the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)
  base.check_temperatures(temperature=temperature)
  base.check_choice('reduction', reduction, base.REDUCTIONS)

  def loss(nets, batch, adv):
    student = base.after_attack(nets['student'], adv)
    robust, student = student.train(adv['images'])
    # At the default alpha the clean pass has no weight; it still updates the
    # running statistics, as in the authors' code.
    clean, student = student.train(batch.images)
    (target,) = distillation.teacher_logits(nets['teacher'], batch.images)
    divergence = base.REDUCTIONS[reduction](
      target, robust.logits, temperature=temperature
    )
    terms = {
      'student/loss_kl_teacher': alpha * temperature**2 * divergence.mean(),
      'student/loss_ce': (1 - alpha)
      * losses.cross_entropy(clean.logits, batch.labels).mean(),
    }
    logits = {
      'student/adv': robust.logits,
      'student/clean': clean.logits,
      'teacher/clean': target,
    }
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return distillation.attack_labels(FACTS, maximise, loss, train_mode_attack)
