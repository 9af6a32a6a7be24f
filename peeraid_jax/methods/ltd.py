"""LTD: soft labels from a teacher at a low temperature.

Reference:
  Chen and Lee, LTD: Low Temperature Distillation for Robust Adversarial
  Training, 2021 (arXiv 2111.02331). No training code was published. What the
  abstracts say: the teacher's temperature is low, and the student's is
  another one, fixed in training and at inference, so that gradients are not
  masked as in defensive distillation. What we assume is marked below.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base

BASES = ('trades', 'at')


def ltd(
  maximise: base.Maximise,
  *,
  temperature: float = 5.0,
  hard_weight: float = 0.0,
  base_loss: str = 'trades',
  beta: float = 6.0,
) -> base.Method:
  """Returns LTD: a base method whose labels are soft.

  With q = hard_weight y + (1 - hard_weight) softmax(t(x) / T):

    'trades': CE(q, s(x)) + beta KL(s(x) || s(x*))
    'at':     CE(q, s(x*))

  Assumptions of ours, for want of a source: T = 5, no hard labels, TRADES as
  the base with AWP (`config.awp`; the released network lies in a folder of
  TRADES-AWP's), a naturally trained teacher of the student's architecture on
  the clean images (`config.teacher`; a robust one is named there, or trained
  with its train_config=':method=pgd_at'). The student's temperature is
  `config.model.student_temperature`, a part of the network: training,
  attacks and inference all see it.

  Args:
    maximise: the inner maximisation: TRADES' KL(s(x) || s(x')), or the
      cross-entropy with the hard labels.
    temperature: T, of the teacher alone.
    hard_weight: share of the hard labels, in [0, 1].
    base_loss: 'trades' or 'at'.
    beta: weight of the robust term of TRADES.

  Raises:
    ValueError: a hyperparameter out of range.
  """
  base.check_temperatures(temperature=temperature)
  base.check_shares(hard_weight=hard_weight)
  base.check_choice('base_loss', base_loss, BASES)
  base.check_weights(beta=beta)

  if base_loss == 'at':
    craft = base.ascend_cross_entropy(maximise)
  else:
    craft = base.ascend_divergence(maximise, 'student')

  def loss(nets, batch, adv, keys):
    del keys
    teacher = jax.lax.stop_gradient(nets['teacher'].eval(batch.images).logits)
    soft = jax.nn.softmax(teacher / temperature)
    hard = jax.nn.one_hot(batch.labels, soft.shape[-1], dtype=soft.dtype)
    target = hard_weight * hard + (1 - hard_weight) * soft
    # TRADES-AWP's order: adversarial, then twice the clean batch.
    robust, student = nets['student'].train(adv['images'])
    metrics = {
      'student/adv_accuracy': base.accuracy(robust.logits, batch.labels),
      'teacher/clean_accuracy': base.accuracy(teacher, batch.labels),
      'teacher/soft_label_confidence': soft.max(axis=-1).mean(),
    }
    if base_loss == 'at':
      terms = {
        'student/loss_soft_ce': losses.soft_cross_entropy(
          target, robust.logits
        ).mean()
      }
    else:
      clean, student = student.train(batch.images, updates=2)
      terms = {
        'student/loss_soft_ce': losses.soft_cross_entropy(
          target, clean.logits
        ).mean(),
        'student/loss_kl_clean': beta
        * losses.kl(clean.logits, robust.logits).mean(),
      }
      metrics['student/clean_accuracy'] = base.accuracy(
        clean.logits, batch.labels
      )
    metrics |= terms
    return sum(terms.values()), ({**nets, 'student': student}, metrics)

  return base.Method(('student',), ('teacher',), craft, loss)
