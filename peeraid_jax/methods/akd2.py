"""AKD2: two teachers, one natural and one robust, soften the labels.

Reference:
  Chen et al., Robust Overfitting May Be Mitigated by Properly Learned
  Smoothening, 2021. Its other half, weight averaging, is `config.swa`.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base, distillation

FACTS = base.Facts(
  teachers={'teacher': 'pgd_at', 'natural_teacher': 'natural'},
  student='preactresnet18_rice',
  defaults=base.UNIFORM_START,
  recipe=base.Recipe(
    200,
    (50, 150),
    {
      'optimizer.student.weight_decay': 5e-4,
      'model.normalization': 'cifar10',
      'swa.start_epoch': 55,
      'data.validation_examples': 5000,
      'eval.select_on': 'validation',
      'eval.select_attack': 'pgd20',
    },
  ),
  fields_by_data={
    'cifar100': {'model.normalization': 'cifar100', 'data.rotation': 15.0},
    'svhn': {'model.normalization': 'none'},
  },
)


def akd2(
  maximise: base.Maximise,
  *,
  ce_weight: float = 0.3,
  natural_weight: float = 0.1,
  robust_weight: float = 0.6,
  temperature: float = 2.0,
  train_mode_attack: bool = False,
) -> base.Method:
  """Returns AKD2: cross-entropy with labels and both teachers, all on x*.

  ce_weight CE(s(x*), y) + natural_weight T^2 CE(n(x*), s(x*))
    + robust_weight T^2 CE(t(x*), s(x*))

  The authors' code attacks the student in train mode
  (train_mode_attack=True). IAD's repository runs AKD2 with the weights 0.25,
  0.25 and 0.5, temperature 1 and no averaging.

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    ce_weight, natural_weight, robust_weight: weights of the labels, of the
      naturally trained teacher and of the robust one.
    temperature: T, of teachers and student.
    train_mode_attack: attack with batch statistics, so that every attack
      step updates the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(
    ce_weight=ce_weight,
    natural_weight=natural_weight,
    robust_weight=robust_weight,
  )
  base.check_temperatures(temperature=temperature)

  def loss(nets, batch, adv):
    student = base.after_attack(nets['student'], adv)
    output, student = student.train(adv['images'])

    def imitate(teacher):
      """Returns the soft cross-entropy with a teacher, and its logits."""
      (target,) = distillation.teacher_logits(teacher, adv['images'])
      values = losses.soft_cross_entropy(
        jax.nn.softmax(target / temperature), output.logits / temperature
      )
      return temperature**2 * values.mean(), target

    from_natural, _ = imitate(nets['natural_teacher'])
    from_robust, robust_logits = imitate(nets['teacher'])
    terms = {
      'student/loss_ce': ce_weight
      * losses.cross_entropy(output.logits, batch.labels).mean(),
      'student/loss_ce_natural_teacher': natural_weight * from_natural,
      'student/loss_ce_teacher': robust_weight * from_robust,
    }
    logits = {'student/adv': output.logits, 'teacher/adv': robust_logits}
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return distillation.attack_labels(FACTS, maximise, loss, train_mode_attack)
