"""AdaIAD: AdaAD's attack with IAD's introspection.

Reference: that of `adaad`.
"""

from peeraid_jax.methods import adaad, base, distillation

FACTS = adaad.FACTS._replace(epoch_hyperparameters=('begin_epoch',))


def adaiad(
  maximise: base.Maximise,
  *,
  beta: float = 0.1,
  begin_epoch: int = 60,
  temperature: float = 30.0,
  self_temperature: float = 1.0,
  weight_teacher: bool = True,
) -> base.Method:
  """Returns AdaIAD: AdaAD's images, IAD-I's loss with the teacher on x*.

  With a = t_y(x*)^beta, after the warm-up:

    a T^2 KL_T(t(x*) || s(x*)) + (1 - a) T'^2 KL_T'(s(x) || s(x*))

  Args:
    maximise: the inner maximisation, of KL(t(x') || s(x')).
    beta: exponent of the trust.
    begin_epoch: first epoch (from 0) with introspection.
    temperature: T, of the teacher's term.
    self_temperature: T', of the student's own term; the authors' code has 1
      there, whatever T is.
    weight_teacher: multiply the teacher's term by the trust; IAD's code,
      unlike its paper, does not.

  Raises:
    ValueError: a hyperparameter out of range.
  """

  introspect = distillation.introspection(
    beta,
    begin_epoch,
    temperature,
    self_temperature=self_temperature,
    weight_teacher=weight_teacher,
  )

  def loss(nets, batch, adv):
    begun = batch.epoch >= begin_epoch
    before = nets['student']
    clean, once = before.train(batch.images)
    robust, student = once.train(adv)
    # Once introspection has begun, the authors pass the clean batch two more
    # times, which changes the running statistics alone.
    again = student.take_in_again(before, once).take_in_again(before, once)
    student = distillation.statistics_if(begun, again, student)
    on_clean, on_adv = distillation.teacher_logits(
      nets['teacher'], batch.images, adv
    )
    from_teacher, from_itself = introspect(
      on_adv, on_adv, clean.logits, robust.logits, batch
    )
    terms = {
      'student/loss_kl_teacher': from_teacher.mean(),
      'student/loss_kl_clean': from_itself.mean(),
    }
    logits = adaad.predictions(clean, robust, on_clean, on_adv)
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  craft = adaad.ascend_disagreement(maximise)
  return base.Method(('student',), ('teacher',), craft, loss)
