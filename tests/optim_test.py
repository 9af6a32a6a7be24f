"""Optimizer and schedule against PyTorch's rule, worked out by hand."""

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax import optim


class ScheduleTest(absltest.TestCase):
  def _rate(self, **kwargs):
    settings = {
      'learning_rate': 0.1,
      'warmup_epochs': 0.0,
      'decay_epochs': (2, 4),
      'decay_factor': 0.1,
      'steps_per_epoch': 10,
    }
    return optim.schedule(**{**settings, **kwargs})

  def test_drops_with_the_first_step_of_the_epoch(self):
    rate = self._rate()
    steps = (0, 19, 20, 39, 40, 1000)
    expected = (0.1, 0.1, 0.01, 0.01, 0.001, 0.001)
    np.testing.assert_allclose([rate(s) for s in steps], expected, rtol=1e-6)

  def test_warmup(self):
    rate = self._rate(warmup_epochs=0.5)
    np.testing.assert_allclose(
      [rate(s) for s in (0, 1, 5, 19, 20)],
      (0, 0.02, 0.1, 0.1, 0.01),
      rtol=1e-6,
    )


class SgdTest(absltest.TestCase):
  def test_is_pytorchs(self):
    """g + wd w; v = m v + g; w - lr v, the rate outside of the buffer."""
    rate = lambda step: jnp.where(step < 2, 0.1, 0.01)
    optimizer = optim.sgd(rate, momentum=0.9, weight_decay=0.2)
    w, bias = 1.0, -2.0
    params = {'kernel': jnp.array(w), 'bias': jnp.array(bias)}
    state = optimizer.init(params)
    v = [0.0, 0.0]
    for step, g in enumerate((1.0, -2.0, 0.5, 3.0)):
      grads = {'kernel': jnp.array(g), 'bias': jnp.array(2 * g)}
      updates, state = optimizer.update(grads, state, params)
      params = {k: params[k] + updates[k] for k in params}
      lr = 0.1 if step < 2 else 0.01
      # Decay covers the bias too.
      v = [0.9 * v[0] + g + 0.2 * w, 0.9 * v[1] + 2 * g + 0.2 * bias]
      w, bias = w - lr * v[0], bias - lr * v[1]
      np.testing.assert_allclose(
        (params['kernel'], params['bias']), (w, bias), rtol=1e-6
      )


if __name__ == '__main__':
  absltest.main()
