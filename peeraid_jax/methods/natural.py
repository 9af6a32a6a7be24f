"""Natural training: cross-entropy on clean images, no attack."""

from peeraid_jax import losses
from peeraid_jax.methods import base


def natural(
  maximise: base.Maximise, *, label_smoothing: float = 0.0
) -> base.Method:
  """Returns the method that every table calls 'natural'.

  Args:
    maximise: unused.
    label_smoothing: probability of the wrong classes together; 0.5 in the
      name of AGKD-BML's teacher.

  Raises:
    ValueError: it is not in [0, 1].
  """
  del maximise
  base.check_shares(label_smoothing=label_smoothing)

  def craft(nets, batch, keys):
    del nets, keys
    return batch.images

  def loss(nets, batch, adv, keys):
    del adv, keys
    output, student = nets['student'].train(batch.images)
    value = losses.smoothed_cross_entropy(
      output.logits, batch.labels, smoothing=label_smoothing
    ).mean()
    metrics = {
      'student/loss_ce': value,
      'student/clean_accuracy': base.accuracy(output.logits, batch.labels),
    }
    return value, ({**nets, 'student': student}, metrics)

  return base.Method(('student',), (), craft, loss)
