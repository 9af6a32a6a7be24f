"""Optimizers against rules worked out by hand, and their settings."""

import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from peeraid_jax.training import optimizers
from tests import helpers


def _steps(optimizer, w: float, grads) -> list[float]:
  """Returns the values of one parameter after each gradient."""
  params = {'w': jnp.array(w)}
  state = optimizer.init(params)
  values = []
  for g in grads:
    updates, state = optimizer.update({'w': jnp.array(g)}, state, params)
    params = optax.apply_updates(params, updates)
    values.append(float(params['w']))
  return values


class SgdTest(absltest.TestCase):
  def test_is_pytorchs(self):
    """g + wd w; v = m v + g; w - lr v, the rate outside of the buffer."""
    rate = lambda step: jnp.where(step < 2, 0.1, 0.01)
    optimizer = optimizers.sgd(rate, momentum=0.9, weight_decay=0.2)
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

  def test_nesterov_is_pytorchs(self):
    """v = m v + g; w - lr (g + m v)."""
    optimizer = optimizers.sgd(
      lambda step: 0.1, momentum=0.9, nesterov=True, weight_decay=0.2
    )
    w, v, expected = 1.0, 0.0, []
    for g in (1.0, -2.0, 0.5):
      decayed = g + 0.2 * w
      v = 0.9 * v + decayed
      w -= 0.1 * (decayed + 0.9 * v)
      expected.append(w)
    np.testing.assert_allclose(
      _steps(optimizer, 1.0, (1.0, -2.0, 0.5)), expected, rtol=1e-6
    )


class AdamWTest(absltest.TestCase):
  def test_decoupled_decay(self):
    optimizer = optimizers.adamw(
      lambda step: 0.1, weight_decay=0.2, b1=0.8, b2=0.9, eps=1e-3
    )
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for step, g in enumerate((1.0, -2.0, 0.5), start=1):
      m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
      direction = (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.9**step)) + 1e-3)
      w -= 0.1 * (direction + 0.2 * w)
      expected.append(w)
    np.testing.assert_allclose(
      _steps(optimizer, 1.0, (1.0, -2.0, 0.5)), expected, rtol=1e-5
    )


class CreateTest(parameterized.TestCase):
  def _create(self, **settings):
    fields = {f'optimizer__student__{k}': v for k, v in settings.items()}
    config = helpers.config('pgd_at', **fields)
    return optimizers.create(
      config.optimizer.student, lambda step: 0.1, role='student'
    )

  def test_fields_and_options_reach_the_optimizer(self):
    created = self._create(
      name='adamw', weight_decay=0.2, options=('b1=0.8', 'eps=1e-3')
    )
    direct = optimizers.adamw(
      lambda step: 0.1, weight_decay=0.2, b1=0.8, eps=1e-3
    )
    grads = (1.0, -2.0, 0.5)
    self.assertEqual(_steps(created, 1.0, grads), _steps(direct, 1.0, grads))

  @parameterized.parameters(
    ({'name': 'sdg'}, "optimizer 'sdg' is unknown; known: sgd, adamw"),
    ({'options': ('b1=0.5',)}, 'momentum, nesterov, weight_decay'),
    ({'options': ('momentum=x',)}, 'should be a number or a text'),
    ({'name': 'adamw', 'momentum': 0.5}, 'momentum=0.5: .*no such setting'),
    ({'name': 'adamw', 'options': ('b1="x"',)}, 'should be like 0.9'),
    ({'name': 'adamw', 'options': ('b1=True',)}, 'should be like 0.9'),
    ({'name': 'adamw', 'options': ('b1=1e999',)}, 'should be like 0.9'),
    ({'name': 'adamw', 'options': ('b2=1',)}, 'b2=1 should be .* below 1'),
    ({'name': 'adamw', 'options': ('eps=0',)}, 'eps=0 should be above 0'),
    ({'name': 'adamw', 'options': ('b1=0', 'b1=0.5')}, "has 'b1' twice"),
    ({'options': ('nesterov=1',)}, 'should be like False'),
  )
  def test_bad_settings(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      self._create(**settings)

  def test_a_weight_decay_without_effect(self):
    optimizers.register('plain', lambda rate: optax.sgd(rate))
    self.addCleanup(optimizers.OPTIMIZERS._entries.pop, 'plain')
    settings = helpers.config('natural').optimizer.student
    self.assertEqual(optimizers.notes(settings, role='student'), [])
    settings.name = 'plain'
    (note,) = optimizers.notes(settings, role='student')
    self.assertIn('optimizer.student.weight_decay=0.0002 has no effect', note)
    settings.weight_decay = 0.0
    self.assertEqual(optimizers.notes(settings, role='student'), [])


if __name__ == '__main__':
  absltest.main()
