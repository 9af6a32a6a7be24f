"""IAD: a student trusts its teacher as far as the teacher withstands.

Reference:
  Zhu et al., Reliable Adversarial Distillation with Unreliable Teachers,
  2022: IAD-I introspects ARD's teacher, IAD-II AKD2's two.
"""

import chex
import jax
import jax.numpy as jnp

from peeraid_jax import losses
from peeraid_jax.methods import base


def trust(teacher_logits: chex.Array, labels: chex.Array, *, beta: float):
  """Returns how far a teacher is trusted: p_y^beta, [B].

  Args:
    teacher_logits: [B, C], on the adversarial images.
    labels: int [B].
    beta: below 1 it raises small probabilities.
  """
  return jnp.exp(-beta * losses.cross_entropy(teacher_logits, labels))


def introspect(
  target: chex.Array,
  clean: chex.Array,
  robust: chex.Array,
  trusted: chex.Array,
  *,
  begun: chex.Array,
  temperature: float,
  weight_teacher: bool,
) -> tuple[chex.Array, chex.Array]:
  """Returns the teacher's and the student's own term, [B] each.

  Args:
    target: [B, C], the teacher's logits.
    clean: [B, C], the student's on clean images; it carries gradient.
    robust: [B, C], the student's on adversarial images.
    trusted: [B], from `trust`.
    begun: bool, whether the warm-up, when the teacher has full weight and the
      student none, is over.
    temperature: T; both terms are multiplied by T^2.
    weight_teacher: whether the teacher's term is multiplied by `trusted`.
  """
  by_teacher = losses.kl(target, robust, temperature=temperature)
  by_itself = losses.kl(clean, robust, temperature=temperature)
  if weight_teacher:
    by_teacher *= jnp.where(begun, trusted, 1)
  by_itself *= jnp.where(begun, 1 - trusted, 0)
  return temperature**2 * by_teacher, temperature**2 * by_itself


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
  """Returns IAD-I, on ARD's teacher.

  With a = t_y(x*)^beta, after the warm-up:

    alpha T^2 [a KL(t(x) || s(x*)) + (1 - a) KL(s(x) || s(x*))]
      + (1 - alpha) CE(s(x), y)

  The authors' code differs from the paper in three ways. It does not multiply
  the teacher's term by a (weight_teacher=False); it attacks the student in
  train mode (train_mode_attack=True); and its second decay of the learning
  rate never happens (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    alpha: weight of the distillation, in [0, 1].
    beta: exponent of the trust.
    begin_epoch: first epoch (from 0) with introspection.
    temperature: T.
    weight_teacher: multiply the teacher's term by the trust.
    train_mode_attack: attack with batch statistics, and let every attack
      step update the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)
  base.check_weights(beta=beta, begin_epoch=begin_epoch)
  base.check_temperatures(temperature=temperature)

  craft = base.ascend_cross_entropy(maximise, train_mode=train_mode_attack)

  def loss(nets, batch, adv, keys):
    del keys
    student = base.attacked(nets['student'], adv)
    # The authors pass the adversarial batch another time, detached.
    robust, student = student.train(adv['images'], updates=2)
    clean, student = student.train(batch.images)
    target, attacked = jax.lax.stop_gradient(
      tuple(
        nets['teacher'].eval(x).logits for x in (batch.images, adv['images'])
      )
    )
    by_teacher, by_itself = introspect(
      target,
      clean.logits,
      robust.logits,
      trust(attacked, batch.labels, beta=beta),
      begun=batch.epoch >= begin_epoch,
      temperature=temperature,
      weight_teacher=weight_teacher,
    )
    terms = {
      'student/loss_kl_teacher': alpha * by_teacher.mean(),
      'student/loss_kl_clean': alpha * by_itself.mean(),
      'student/loss_ce': (1 - alpha)
      * losses.cross_entropy(clean.logits, batch.labels).mean(),
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
      'teacher/clean_accuracy': base.accuracy(target, batch.labels),
      'teacher/adv_accuracy': base.accuracy(attacked, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(
    ('student',), ('teacher',), craft, loss, per_example=not train_mode_attack
  )


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
  """Returns IAD-II, on AKD2's two teachers.

  With a = t_y(x*)^beta, after the warm-up:

    ce_weight CE(s(x*), y) + natural_weight T^2 KL(n(x*) || s(x*))
      + robust_weight T^2 [a KL(t(x*) || s(x*)) + (1 - a) KL(s(x) || s(x*))]

  The authors' code attacks the student in train mode
  (train_mode_attack=True), and its second decay of the learning rate never
  happens (config.optimizer.student.decay_epochs=(100,)).

  Args:
    maximise: the inner maximisation, of the student's cross-entropy; the
      authors start it uniformly in the ball.
    ce_weight, natural_weight, robust_weight: of the labels, of the naturally
      trained teacher, and of the robust one with the student itself.
    beta: exponent of the trust.
    begin_epoch: first epoch (from 0) with introspection.
    temperature: T.
    train_mode_attack: attack with batch statistics, and let every attack
      step update the running ones.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(
    ce_weight=ce_weight,
    natural_weight=natural_weight,
    robust_weight=robust_weight,
    beta=beta,
    begin_epoch=begin_epoch,
  )
  base.check_temperatures(temperature=temperature)

  craft = base.ascend_cross_entropy(maximise, train_mode=train_mode_attack)

  def loss(nets, batch, adv, keys):
    del keys
    student = base.attacked(nets['student'], adv)
    robust, student = student.train(adv['images'])
    clean, student = student.train(batch.images)
    attacked, natural = jax.lax.stop_gradient(
      tuple(
        nets[role].eval(adv['images']).logits
        for role in ('teacher', 'natural_teacher')
      )
    )
    by_teacher, by_itself = introspect(
      attacked,
      clean.logits,
      robust.logits,
      trust(attacked, batch.labels, beta=beta),
      begun=batch.epoch >= begin_epoch,
      temperature=temperature,
      weight_teacher=True,
    )
    by_natural = losses.kl(natural, robust.logits, temperature=temperature)
    terms = {
      'student/loss_ce': ce_weight
      * losses.cross_entropy(robust.logits, batch.labels).mean(),
      'student/loss_kl_natural_teacher': natural_weight
      * temperature**2
      * by_natural.mean(),
      'student/loss_kl_teacher': robust_weight * by_teacher.mean(),
      'student/loss_kl_clean': robust_weight * by_itself.mean(),
    }
    metrics = {
      **terms,
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
      'teacher/adv_accuracy': base.accuracy(attacked, batch.labels),
    }
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  roles = ('teacher', 'natural_teacher')
  return base.Method(
    ('student',), roles, craft, loss, per_example=not train_mode_attack
  )
