"""TRADES: clean accuracy against agreement in the ball, by one weight.

Reference:
  Zhang et al., Theoretically Principled Trade-off between Robustness and
  Accuracy, 2019; with AWP as in Wu et al., Adversarial Weight Perturbation
  Helps Robust Generalization, 2020.
"""

from peeraid_jax import losses
from peeraid_jax.methods import base

PASS_ORDERS = ('auto', 'clean_first', 'adversarial_first')

FACTS = base.Facts(
  student='wideresnet34x10',
  # AWP's paper perturbs TRADES from the tenth epoch on.
  defaults={'awp.start_epoch': 9},
  # The code has decays at the 90th and 100th epoch too, which a run of 76
  # epochs does not reach.
  recipe=base.Recipe(
    76,
    (74,),
    {
      'attack.epsilon': 0.031,
      'attack.step_size': 0.007,
      'eval.step_size': 0.003,
      **base.NO_AVERAGE,
    },
  ),
  by_awp={'pass_order': ('clean_first', 'adversarial_first')},
)


def trades(
  maximise: base.Maximise, *, beta: float = 6.0, pass_order: str = 'auto'
) -> base.Method:
  """Returns TRADES: CE(f(x), y) + beta KL(f(x) || f(x*)).

  The clean prediction gets gradient as target too, as in the authors' code.

  Args:
    maximise: the inner maximisation, of KL(f(x) || f(x')).
    beta: weight of the robust term, 1 / lambda of the paper.
    pass_order: order of the passes in train mode, which shapes the running
      statistics: 'clean_first' is x, x*, x as in TRADES' code,
      'adversarial_first' is x*, x, x as in TRADES-AWP's. 'auto' stands for
      the one that fits `config.awp.enabled`.

  Raises:
    ValueError: beta is negative, or an unknown order.
  """
  base.check_weights(beta=beta)
  base.check_choice('pass_order', pass_order, PASS_ORDERS)

  craft = base.ascend_divergence(maximise, 'student')

  def passes(student, images, adversarial):
    """Returns both outputs and the student, after three passes."""
    if pass_order == 'adversarial_first':
      robust, student = student.train(adversarial)
      clean, student = student.train(images, updates=2)
      return clean, robust, student
    clean, once = student.train(images)
    robust, twice = once.train(adversarial)
    # The third pass repeats the clean batch: the same logits, one more update
    # of the running statistics.
    return clean, robust, twice.take_in_again(student, once)

  def loss(nets, batch, adv):
    clean, robust, student = passes(
      nets['student'], batch.images, adv['images']
    )
    terms = {
      'student/loss_ce': losses.cross_entropy(
        clean.logits, batch.labels
      ).mean(),
      'student/loss_kl_clean': beta
      * losses.kl(clean.logits, robust.logits).mean(),
    }
    logits = {'student/adv': robust.logits, 'student/clean': clean.logits}
    return base.joint(terms, {**nets, 'student': student}, batch.labels, logits)

  return base.Method(('student',), (), craft, loss)
