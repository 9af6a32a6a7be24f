"""AKD2: two teachers, one natural and one robust, soften the labels.

Reference:
  Chen et al., Robust Overfitting May Be Mitigated by Properly Learned
  Smoothening, 2021. Its other half, weight averaging, is `config.swa`.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base


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
    ce_weight, natural_weight, robust_weight: of the labels, of the naturally
      trained teacher and of the robust one.
    temperature: T, of teachers and student.
    train_mode_attack: attack with batch statistics, and let every attack
      step update the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(
    ce_weight=ce_weight,
    natural_weight=natural_weight,
    robust_weight=robust_weight,
  )
  base.check_temperatures(temperature=temperature)

  craft = base.ascend_cross_entropy(maximise, train_mode=train_mode_attack)

  def loss(nets, batch, adv, keys):
    del keys
    student = base.attacked(nets['student'], adv)
    output, student = student.train(adv['images'])

    def imitate(teacher):
      logits = jax.lax.stop_gradient(teacher.eval(adv['images']).logits)
      values = losses.soft_cross_entropy(
        jax.nn.softmax(logits / temperature), output.logits / temperature
      )
      return temperature**2 * values.mean(), logits

    natural, _ = imitate(nets['natural_teacher'])
    robust, robust_logits = imitate(nets['teacher'])
    terms = {
      'student/loss_ce': ce_weight
      * losses.cross_entropy(output.logits, batch.labels).mean(),
      'student/loss_ce_natural_teacher': natural_weight * natural,
      'student/loss_ce_teacher': robust_weight * robust,
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(output.logits, batch.labels),
      'teacher/adv_accuracy': base.accuracy(robust_logits, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  roles = ('teacher', 'natural_teacher')
  return base.Method(
    ('student',), roles, craft, loss, per_example=not train_mode_attack
  )
