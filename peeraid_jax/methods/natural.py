"""Natural training: cross-entropy on clean images, no attack."""

from peeraid_jax import losses
from peeraid_jax.methods import base

FACTS = base.Facts(
  defaults={'eval.select_attack': 'clean'},
  # PeerAiD's repository trains its natural baseline so.
  recipe=base.Recipe(300, (214, 259, 284)),
)


def natural(
  maximise: base.Maximise, *, label_smoothing: float = 0.0
) -> base.Method:
  """Returns natural training.

  Args:
    maximise: unused.
    label_smoothing: total probability of the wrong classes in the labels;
      AGKD-BML's teacher is trained with 0.5.

  Raises:
    ValueError: it is not in [0, 1].
  """
  del maximise
  base.check_shares(label_smoothing=label_smoothing)

  def craft(nets, batch, keys):
    del nets, keys
    return batch.images

  def loss(nets, batch, adv):
    del adv
    output, student = nets['student'].train(batch.images)
    value = losses.smoothed_cross_entropy(
      output.logits, batch.labels, smoothing=label_smoothing
    ).mean()
    return base.joint(
      {'student/loss_ce': value},
      {**nets, 'student': student},
      batch.labels,
      {'student/clean': output.logits},
    )

  return base.Method(('student',), (), craft, loss)
