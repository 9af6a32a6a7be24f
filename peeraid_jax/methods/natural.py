"""Natural training: cross-entropy on clean images, no attack."""

from peeraid_jax import losses
from peeraid_jax.methods import base


def natural(maximise: base.Maximise) -> base.Method:
  """Returns the method that every table calls 'natural'.

  Args:
    maximise: unused.
  """
  del maximise

  def craft(nets, batch, keys):
    del nets, keys
    return batch.images

  def loss(nets, batch, adv, keys):
    del adv, keys
    output, student = nets['student'].train(batch.images)
    value = losses.cross_entropy(output.logits, batch.labels).mean()
    metrics = {
      'student/loss_ce': value,
      'student/clean_accuracy': base.accuracy(output.logits, batch.labels),
    }
    return value, ({**nets, 'student': student}, metrics)

  return base.Method(('student',), (), craft, loss)
