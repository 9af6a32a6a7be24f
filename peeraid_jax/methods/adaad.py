"""AdaAD: the attack itself looks for where student and teacher disagree.

Reference:
  Huang et al., Boosting Accuracy and Robustness of Student Models via
  Adaptive Adversarial Distillation, 2023; AdaIAD adds IAD's introspection.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base, iad


def _craft(maximise: base.Maximise):
  """The inner maximisation of both: KL(t(x') || s(x')) in x'."""

  def craft(nets, batch, keys):
    def objective(images):
      # The gradient runs through both networks.
      return losses.kl(
        nets['teacher'].eval(images).logits,
        nets['student'].eval(images).logits,
      )

    return maximise(objective, batch.images, keys)

  return craft


def _forward(nets, batch, adv):
  """The passes of both, in the authors' order: clean, then adversarial."""
  clean, student = nets['student'].train(batch.images)
  robust, student = student.train(adv)
  on_clean, on_adv = jax.lax.stop_gradient(
    tuple(nets['teacher'].eval(x).logits for x in (batch.images, adv))
  )
  metrics = {
    'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
    'student/clean_accuracy': base.accuracy(clean.logits, batch.labels),
    'teacher/adv_accuracy': base.accuracy(on_adv, batch.labels),
    'teacher/clean_accuracy': base.accuracy(on_clean, batch.labels),
  }
  new = {**nets, 'student': student}
  return (clean.logits, robust.logits, on_clean, on_adv), new, metrics


def adaad(
  maximise: base.Maximise, *, alpha: float = 1.0, reduction: str = 'batchmean'
) -> base.Method:
  """Returns AdaAD: alpha KL(t(x*) || s(x*)) + (1 - alpha) KL(t(x) || s(x)).

  The authors' code divides KL by the number of classes on CIFAR-10
  (reduction='mean') and does not on CIFAR-100.

  Args:
    maximise: the inner maximisation, of KL(t(x') || s(x')).
    alpha: weight of the adversarial images, in [0, 1].
    reduction: of KL over classes, 'batchmean' or 'mean'.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_shares(alpha=alpha)
  base.check_choice('reduction', reduction, base.REDUCTIONS)
  divergence = base.REDUCTIONS[reduction]

  def loss(nets, batch, adv, keys):
    del keys
    logits, new, metrics = _forward(nets, batch, adv)
    clean, robust, on_clean, on_adv = logits
    terms = {
      'student/loss_kl_teacher': alpha * divergence(on_adv, robust).mean(),
      'student/loss_kl_teacher_clean': (1 - alpha)
      * divergence(on_clean, clean).mean(),
    }
    return sum(terms.values()), (new, {**terms, **metrics})

  return base.Method(('student',), ('teacher',), _craft(maximise), loss)


def adaiad(
  maximise: base.Maximise,
  *,
  beta: float = 0.1,
  begin_epoch: int = 60,
  temperature: float = 30.0,
  weight_teacher: bool = True,
) -> base.Method:
  """Returns AdaIAD: AdaAD's images, IAD-I's loss with the teacher on x*.

  With a = t_y(x*)^beta, after the warm-up:

    T^2 [a KL(t(x*) || s(x*)) + (1 - a) KL(s(x) || s(x*))]

  Args:
    maximise: the inner maximisation, of KL(t(x') || s(x')).
    beta: exponent of the trust.
    begin_epoch: first epoch (from 0) with introspection.
    temperature: T, by our reading of both terms.
    weight_teacher: multiply the teacher's term by the trust; IAD's code,
      unlike its paper, does not.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_weights(beta=beta, begin_epoch=begin_epoch)
  base.check_temperatures(temperature=temperature)

  def loss(nets, batch, adv, keys):
    del keys
    logits, new, metrics = _forward(nets, batch, adv)
    clean, robust, _, on_adv = logits
    by_teacher, by_itself = iad.introspect(
      on_adv,
      clean,
      robust,
      iad.trust(on_adv, batch.labels, beta=beta),
      begun=batch.epoch >= begin_epoch,
      temperature=temperature,
      weight_teacher=weight_teacher,
    )
    terms = {
      'student/loss_kl_teacher': by_teacher.mean(),
      'student/loss_kl_clean': by_itself.mean(),
    }
    return sum(terms.values()), (new, {**terms, **metrics})

  return base.Method(('student',), ('teacher',), _craft(maximise), loss)
