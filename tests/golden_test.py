"""Values computed in float64 by an independent implementation (PyTorch).

They pin what tests of behaviour cannot: reductions, temperatures and which
gradients flow.
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import losses, methods
from peeraid_jax.data import batches
from peeraid_jax.models import layers


def _grid(offset: float, scale: float) -> np.ndarray:
  rows, columns = np.mgrid[:2, :4]
  return scale * np.sin(offset + 4 * rows + columns)


P, S, N = _grid(1, 2.0), _grid(20, 1.5), _grid(40, 1.0)
LABELS = np.array([1, 3])

# The methods' settings of the golden values.
SETTINGS = {
  'gamma1': 1.0,
  'gamma2': 0.1,
  'lambda1': 0.2,
  'lambda2': 1.0,
  'lambda3': 1.0,
  'temperature': 5.0,
  'peer_temperature': 1.0,
}

D_PEER = [
  [0.20503362, -0.26374761, 0.05049991, 0.00821408],
  [0.00606856, 0.02388956, 0.15870059, -0.18865871],
]
D_STUDENT = [
  [0.04223711, -0.04615657, 0.01725962, -0.01334015],
  [-0.01553780, -0.00699070, 0.04616336, -0.02363486],
]
D_STUDENT_DETACHED = [
  [0.04178157, -0.04530369, 0.01711982, -0.01359770],
  [-0.01585948, -0.00777406, 0.04563818, -0.02200464],
]
D_CLEAN = [
  [0.00097765, -0.02427943, -0.00692013, 0.03022190],
  [0.03273762, 0.02770214, -0.01583899, -0.04460077],
]
D_CLEAN_TRADES = [
  [0.41921937, -0.86259925, -0.00859800, 0.45197788],
  [0.56506464, 0.97009718, -0.35186117, -1.18330065],
]


class Table(flax.struct.PyTreeNode):
  """Stands for a network: its logits are looked up, not computed.

  Attributes:
    params: {'adv': [B, C], 'clean': [B, C]}.
  """

  params: dict

  def eval(self, images):
    # Clean images are 0, adversarial ones 1.
    adv = images[:, 0, 0] > 0.5
    logits = jnp.where(adv, self.params['adv'], self.params['clean'])
    return layers.Output(logits, None, None)

  def train(self, images, *, updates=1):
    del updates
    return self.eval(images), self

  def take_in_again(self, before, after):
    del before, after
    return self


def _peeraid_loss(params, **kwargs):
  method = methods.create('peeraid', lambda *a: None, **SETTINGS, **kwargs)
  nets = {role: Table(p) for role, p in params.items()}
  clean = jnp.zeros((2, 1, 1, 1))
  adv = {'images': clean + 1, 'peer_clean_logits': jnp.asarray(P)}
  batch = batches.Batch(clean, jnp.asarray(LABELS))
  return method.loss(nets, batch, adv, None)


def _params():
  return {
    'peer': {'adv': jnp.asarray(P), 'clean': jnp.asarray(P)},
    'student': {'adv': jnp.asarray(S), 'clean': jnp.asarray(N)},
  }


class GoldenTest(chex.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    context = jax.enable_x64(True)
    context.__enter__()
    self.addCleanup(context.__exit__, None, None, None)

  @parameterized.parameters(
    (S, P, 1.0, 0.007256934335903877),
    (P, S, 5.0, 0.0006270104606708321),
    (N, S, 5.0, 0.003809568257730489),
  )
  def test_kl_mean(self, target, logits, temperature, expected):
    value = losses.kl_mean(
      jnp.asarray(target), jnp.asarray(logits), temperature=temperature
    )
    np.testing.assert_allclose(value.mean(), expected, rtol=1e-11)

  def test_peeraid_losses(self):
    _, (_, terms) = _peeraid_loss(_params())
    peer = sum(v for k, v in terms.items() if k.startswith('peer/loss'))
    student = sum(v for k, v in terms.items() if k.startswith('student/loss'))
    np.testing.assert_allclose(peer, 0.6166706703262678, rtol=1e-12)
    np.testing.assert_allclose(student, 0.2713768628942542, rtol=1e-12)

  def test_peeraid_gradients(self):
    grads = jax.grad(_peeraid_loss, has_aux=True)(_params())[0]
    # The golden gradients have eight decimals.
    close = {'rtol': 0, 'atol': 6e-9}
    np.testing.assert_allclose(grads['peer']['adv'], D_PEER, **close)
    np.testing.assert_allclose(grads['student']['adv'], D_STUDENT, **close)
    np.testing.assert_allclose(grads['student']['clean'], D_CLEAN, **close)
    np.testing.assert_array_equal(grads['peer']['clean'], 0)

  def test_peeraid_detached_student(self):
    grads = jax.grad(
      lambda p: _peeraid_loss(p, detach_student=True), has_aux=True
    )(_params())[0]
    np.testing.assert_allclose(
      grads['student']['adv'], D_STUDENT_DETACHED, rtol=0, atol=6e-9
    )

  def test_peeraid_detached_clean(self):
    grads = jax.grad(
      lambda p: _peeraid_loss(p, detach_clean=True), has_aux=True
    )(_params())[0]
    np.testing.assert_array_equal(grads['student']['clean'], 0)
    np.testing.assert_allclose(
      grads['student']['adv'], D_STUDENT, rtol=0, atol=6e-9
    )

  def test_trades(self):
    method = methods.create('trades', lambda *a: None, beta=6.0)

    def loss(params):
      clean = jnp.zeros((2, 1, 1, 1))
      batch = batches.Batch(clean, jnp.asarray(LABELS))
      return method.loss({'student': Table(params)}, batch, clean + 1, None)

    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
      _params()['student']
    )
    np.testing.assert_allclose(value, 3.3559129727314105, rtol=1e-12)
    np.testing.assert_allclose(
      grads['clean'], D_CLEAN_TRADES, rtol=0, atol=6e-9
    )


if __name__ == '__main__':
  absltest.main()
