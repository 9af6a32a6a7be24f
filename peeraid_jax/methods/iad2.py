"""IAD-II: introspection (IAD) with AKD2's two teachers.

Reference: that of `iad1`.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import akd2, base, distillation, iad1

FACTS = iad1.FACTS._replace(teachers=akd2.FACTS.teachers)


def iad2(
  maximise: base.Maximise,
  *,
  ce_weight: float = 0.25,
  natural_weight: float = 0.25,
  robust_weight: float = 0.5,
  beta: float = 0.1,
  begin_epoch: int = 40,
  temperature: float = 1.0,
  train_mode_attack: bool = False,
) -> base.Method:
  """Returns IAD-II.

  With a = t_y(x*)^beta, after the warm-up:

    ce_weight CE(s(x*), y) + natural_weight T^2 KL(n(x*) || s(x*))
      + robust_weight T^2 [a KL(t(x*) || s(x*)) + (1 - a) KL(s(x) || s(x*))]

  The authors' code attacks the student in train mode
  (train_mode_attack=True), and its second decay of the learning rate has no
  effect (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    ce_weight, natural_weight, robust_weight: weights of the labels, of the
      naturally trained teacher, and of the robust one with the student itself.
    beta, begin_epoch, temperature, train_mode_attack: as in `iad1.iad1`.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(
    ce_weight=ce_weight,
    natural_weight=natural_weight,
    robust_weight=robust_weight,
  )

  introspect = distillation.introspection(beta, begin_epoch, temperature)

  def loss(nets, batch, adv):
    begun = batch.epoch >= begin_epoch
    student = base.after_attack(nets['student'], adv)
    robust, without_clean = student.train(adv['images'])
    clean, with_clean = without_clean.train(batch.images)
    # Before introspection begins, the authors do not pass the clean batch.
    student = distillation.statistics_if(begun, with_clean, without_clean)
    on_adv, natural = jax.lax.stop_gradient(
      tuple(
        nets[role].eval(adv['images']).logits
        for role in ('teacher', 'natural_teacher')
      )
    )
    from_teacher, from_itself = introspect(
      on_adv, on_adv, clean.logits, robust.logits, batch
    )
    from_natural = losses.kl(natural, robust.logits, temperature=temperature)
    terms = {
      'student/loss_ce': ce_weight
      * losses.cross_entropy(robust.logits, batch.labels).mean(),
      'student/loss_kl_natural_teacher': natural_weight
      * temperature**2
      * from_natural.mean(),
      'student/loss_kl_teacher': robust_weight * from_teacher.mean(),
      'student/loss_kl_clean': robust_weight * from_itself.mean(),
    }
    logits = {
      'student/adv': robust.logits,
      'student/clean': clean.logits,
      'teacher/adv': on_adv,
    }
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return distillation.attack_labels(FACTS, maximise, loss, train_mode_attack)
