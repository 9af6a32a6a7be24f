"""LTD: soft labels from a teacher at a low temperature.

Reference:
  Chen and Lee, LTD: Low Temperature Distillation for Robust Adversarial
  Training, 2021 (arXiv 2111.02331). No training code was published. The
  abstracts say that the teacher's temperature is low, and that the student
  has another one, fixed in training and at inference, so that gradients are
  not masked as in defensive distillation. `ltd` lists what we assume beyond
  that.
"""

import jax

from peeraid_jax import losses
from peeraid_jax.methods import base, distillation

BASES = ('trades', 'at')

FACTS = base.Facts(
  teachers={'teacher': 'natural'},
  student='wideresnet34x10',
  # TRADES-AWP's: weights are perturbed from the tenth epoch on.
  defaults={'awp.enabled': True, 'awp.start_epoch': 9},
  # TRADES-AWP's budget, by inference; LTD's own is not published. Its code
  # counts epochs from 1 and decays at 100 and 150.
  recipe=base.Recipe(
    200,
    (99, 149),
    {'optimizer.student.weight_decay': 5e-4, **base.NO_AVERAGE},
  ),
)


def ltd(
  maximise: base.Maximise,
  *,
  temperature: float = 5.0,
  hard_weight: float = 0.0,
  base_loss: str = 'trades',
  beta: float = 6.0,
) -> base.Method:
  """Returns LTD: TRADES or PGD-AT with a teacher's soft labels.

  With q = hard_weight y + (1 - hard_weight) softmax(t(x) / T):

    'trades': CE(q, s(x)) + beta KL(s(x) || s(x*))
    'at':     CE(q, s(x*))

  No source gives the following, which we assume: T = 5; no hard labels;
  TRADES as the base, with AWP (`config.awp`; the path of the released network
  names TRADES-AWP); a naturally trained teacher of the student's
  architecture, on clean images (`config.teacher`; train_config=
  ':method=pgd_at' trains a robust one). The student's temperature is
  `config.roles.student.temperature`. It is part of the network, so training,
  attacks and inference all use it.

  Args:
    maximise: the inner maximisation: TRADES' KL(s(x) || s(x')), or the
      cross-entropy with the hard labels.
    temperature: T, of the teacher only.
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

  def loss(nets, batch, adv):
    (teacher,) = distillation.teacher_logits(nets['teacher'], batch.images)
    soft = jax.nn.softmax(teacher / temperature)
    hard = jax.nn.one_hot(batch.labels, soft.shape[-1], dtype=soft.dtype)
    target = hard_weight * hard + (1 - hard_weight) * soft
    # TRADES-AWP's order of passes: adversarial, then twice the clean batch.
    robust, student = nets['student'].train(adv['images'])
    predictions = {'student/adv': robust.logits, 'teacher/clean': teacher}
    if base_loss == 'at':
      terms = {
        'student/loss_soft_ce': losses.soft_cross_entropy(
          target, robust.logits
        ).mean()
      }
    else:
      clean, student = student.train(batch.images, updates=2)
      predictions['student/clean'] = clean.logits
      terms = {
        'student/loss_soft_ce': losses.soft_cross_entropy(
          target, clean.logits
        ).mean(),
        'student/loss_kl_clean': beta
        * losses.kl(clean.logits, robust.logits).mean(),
      }
    total, (nets, metrics) = base.joint(
      terms, {**nets, 'student': student}, batch.labels, predictions
    )
    metrics['teacher/soft_label_confidence'] = soft.max(axis=-1).mean()
    return total, (nets, metrics)

  return base.Method(('student',), ('teacher',), craft, loss)
