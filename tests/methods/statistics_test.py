"""Running statistics after the passes of each method, in the authors' order.

A pass leaves 0.9 of the old running statistics and adds 0.1 of the batch's.
"""

import chex
import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import methods
from peeraid_jax.data import batches
from peeraid_jax.training import averaging
from tests import helpers


def _shares(order: str) -> dict[str, float]:
  """Returns the weights of old, clean and adversarial statistics.

  Args:
    order: of the passes: 'c' clean, 'a' adversarial.
  """
  shares = {'old': 1.0, 'c': 0.0, 'a': 0.0}
  for images in order:
    shares = {name: 0.9 * share for name, share in shares.items()}
    shares[images] += 0.1
  return shares


# method, hyperparameters, epoch -> order of the student's passes
ORDERS = {
  'trades': ('trades', {}, 0, 'cac'),
  'trades with AWP': (
    'trades', {'pass_order': 'adversarial_first'}, 0, 'acc',
  ),
  'mart': ('mart', {}, 0, 'ca'),
  'ard': ('ard', {}, 0, 'ac'),
  'rslad': ('rslad', {}, 0, 'ac'),
  'ltd': ('ltd', {}, 0, 'acc'),
  'iad1, warm-up': ('iad1', {}, 59, 'aac'),
  'iad1': ('iad1', {}, 60, 'aacc'),
  'iad2, warm-up': ('iad2', {}, 39, 'a'),
  'iad2': ('iad2', {}, 40, 'ac'),
  'adaad': ('adaad', {}, 0, 'ca'),
  'adaiad, warm-up': ('adaiad', {}, 59, 'ca'),
  'adaiad': ('adaiad', {}, 60, 'cacc'),
  'peeraid': ('peeraid', {}, 0, 'aac'),
}  # fmt: skip


class StatisticsTest(chex.TestCase, parameterized.TestCase):
  @parameterized.named_parameters(
    (name.replace(', ', '_').replace(' ', '_').replace('-', '_'), *row)
    for name, row in ORDERS.items()
  )
  def test_passes(self, method, hyperparameters, epoch, order):
    student = helpers.net()
    nets = {
      'student': student,
      'peer': helpers.net(1),
      'teacher': helpers.net(2),
      'natural_teacher': helpers.net(3),
    }
    batch = batches.take(batches.Resident(*helpers.digits()), jnp.arange(16))
    batch = batch._replace(epoch=epoch)
    images = 1 - batch.images
    logits = jnp.zeros((16, 10))
    adv = {
      'images': images,
      'clean_logits': logits,
      'peer_clean_logits': logits,
    }
    built = methods.create(method, lambda *a: None, **hyperparameters)
    crafted = images if method in ('adaad', 'adaiad') else adv
    _, (after, _) = built.loss(nets, batch, crafted)
    shares = _shares(order)
    expected = jax.tree.map(
      lambda old, c, a: shares['old'] * old + shares['c'] * c + shares['a'] * a,
      student.batch_stats,
      averaging.batch_statistics(student, batch.images),
      averaging.batch_statistics(student, images),
    )
    chex.assert_trees_all_close(
      after['student'].batch_stats, expected, rtol=1e-4, atol=1e-6
    )


if __name__ == '__main__':
  absltest.main()
