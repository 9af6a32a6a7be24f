"""IAD-I: the student trusts ARD's teacher as far as it withstands the attack.

Reference:
  Zhu et al., Reliable Adversarial Distillation with Unreliable Teachers,
  2022.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base, distillation

FACTS = base.Facts(
  teachers={'teacher': 'pgd_at'},
  defaults=base.UNIFORM_START,
  recipe=base.Recipe(200, (100, 150), base.NO_AVERAGE),
  epoch_hyperparameters=('begin_epoch',),
)


def iad1(
  maximise: base.Maximise,
  *,
  alpha: float = 1.0,
  beta: float = 0.1,
  begin_epoch: int = 60,
  temperature: float = 1.0,
  weight_teacher: bool = True,
  train_mode_attack: bool = False,
) -> base.Method:
  """Returns IAD-I.

  With a = t_y(x*)^beta, after the warm-up:

    alpha T^2 [a KL(t(x) || s(x*)) + (1 - a) KL(s(x) || s(x*))]
      + (1 - alpha) CE(s(x), y)

  The authors' code differs from the paper in three ways. It does not multiply
  the teacher's term by a (weight_teacher=False); it attacks the student in
  train mode (train_mode_attack=True); and its second decay of the learning
  rate has no effect (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    alpha: weight of the distillation, in [0, 1].
    beta: exponent of the trust.
    begin_epoch: first epoch (from 0) with introspection.
    temperature: T.
    weight_teacher: multiply the teacher's term by the trust.
    train_mode_attack: attack with batch statistics, so that every attack
      step updates the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)

  introspect = distillation.introspection(
    beta, begin_epoch, temperature, weight_teacher=weight_teacher
  )

  def loss(nets, batch, adv):
    begun = batch.epoch >= begin_epoch
    student = base.after_attack(nets['student'], adv)
    # The authors pass the adversarial batch another time, detached, and the
    # clean batch another time once introspection has begun: both change the
    # running statistics alone.
    robust, before = student.train(adv['images'], updates=2)
    clean, once = before.train(batch.images)
    twice = once.take_in_again(before, once)
    student = distillation.statistics_if(begun, twice, once)
    on_clean, on_adv = distillation.teacher_logits(
      nets['teacher'], batch.images, adv['images']
    )
    from_teacher, from_itself = introspect(
      on_clean, on_adv, clean.logits, robust.logits, batch
    )
    terms = {
      'student/loss_kl_teacher': alpha * from_teacher.mean(),
      'student/loss_kl_clean': alpha * from_itself.mean(),
      'student/loss_ce': (1 - alpha)
      * losses.cross_entropy(clean.logits, batch.labels).mean(),
    }
    logits = {
      'student/adv': robust.logits,
      'student/clean': clean.logits,
      'teacher/clean': on_clean,
      'teacher/adv': on_adv,
    }
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return distillation.attack_labels(FACTS, maximise, loss, train_mode_attack)
