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

from peeraid_jax import losses, methods, models
from peeraid_jax.data import batches


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
  """Stands for a network: its outputs are looked up, not computed.

  The value of an image's pixels selects the row: 0 clean, 1 adversarial, 2
  the other image of AGKD-BML, 3 the adversarial other image.

  Attributes:
    params: name of the row -> logits [B, C].
    features: likewise, [B, h, w, channels]; zeros where there are none.
    batch_stats: has no effect; networks have one.
  """

  params: dict
  features: dict = flax.struct.field(default_factory=dict)
  batch_stats: int = 0

  def eval(self, images):
    code = jnp.round(images[:, 0, 0, 0]).astype(int)
    place = jnp.arange(len(images)) % len(LABELS)
    names = ('clean', 'adv', 'other', 'other_adv')
    default = self.params['clean']
    logits = jnp.stack([self.params.get(n, default) for n in names])
    zero = jnp.zeros((2, 2, 2, 3))
    features = jnp.stack([self.features.get(n, zero) for n in names])
    features = features[code, place]
    return models.Output(
      logits[code, place], features, features.mean(axis=(1, 2))
    )

  def train(self, images, *, updates=1):
    del updates
    return self.eval(images), self

  def take_in_again(self, before, after):
    del before, after
    return self


CLEAN = np.zeros((2, 1, 1, 1))


def _loss(name, nets, *, epoch=0, **kwargs):
  """A method's loss on tables of logits."""
  method = methods.create(name, lambda *a: None, **kwargs)
  batch = batches.Batch(jnp.asarray(CLEAN), jnp.asarray(LABELS), epoch)
  adv = {
    'images': batch.images + 1,
    'other': batch.images + 2,
    'other_adv': batch.images + 3,
    'batch_stats': 0,
    'peer_clean_logits': jnp.asarray(P),
    'clean_logits': jnp.asarray(P),
  }
  if name in ('adaad', 'adaiad'):
    adv = adv['images']
  return method.loss(nets, batch, adv)


def _peeraid_loss(params, **kwargs):
  nets = {role: Table(p) for role, p in params.items()}
  return _loss('peeraid', nets, **SETTINGS, **kwargs)


def _params():
  return {
    'peer': {'adv': jnp.asarray(P), 'clean': jnp.asarray(P)},
    'student': {'adv': jnp.asarray(S), 'clean': jnp.asarray(N)},
  }


class Float64(chex.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    context = jax.enable_x64(True)
    context.__enter__()
    self.addCleanup(context.__exit__, None, None, None)


class GoldenTest(Float64):
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
    def loss(params):
      return _loss('trades', {'student': Table(params)}, beta=6.0)

    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(
      _params()['student']
    )
    np.testing.assert_allclose(value, 3.3559129727314105, rtol=1e-12)
    np.testing.assert_allclose(
      grads['clean'], D_CLEAN_TRADES, rtol=0, atol=6e-9
    )

  @parameterized.parameters((5.0, 2.504590781915266), (6.0, 2.73831045170462))
  def test_mart(self, beta, expected):
    nets = {'student': Table(_params()['student'])}
    value, _ = _loss('mart', nets, beta=beta)
    np.testing.assert_allclose(value, expected, rtol=1e-12)

  def test_mart_detaches_nothing(self):
    """The clean logits are target and weight: central differences agree."""

    def loss(clean):
      nets = {'student': Table({'clean': clean, 'adv': jnp.asarray(S)})}
      return _loss('mart', nets)[0]

    grads = jax.grad(loss)(jnp.asarray(N))
    for place in np.ndindex(2, 4):
      shift = np.zeros((2, 4))
      shift[place] = 1e-6
      slope = (
        loss(jnp.asarray(N + shift)) - loss(jnp.asarray(N - shift))
      ) / 2e-6
      np.testing.assert_allclose(grads[place], slope, rtol=1e-6, atol=1e-8)


def _features(k: int) -> np.ndarray:
  b, c, h, w = np.mgrid[:2, :3, :2, :2]
  values = np.maximum(np.sin(k + ((3 * b + c) * 2 + h) * 2 + w), 0)
  return values.transpose(0, 2, 3, 1)


class AGKDBMLTest(Float64):
  """Attention, triplet, and the whole loss of AGKD-BML."""

  def test_smoothed_cross_entropy(self):
    value = losses.smoothed_cross_entropy(
      jnp.asarray(S), jnp.asarray(LABELS), smoothing=0.5
    )
    np.testing.assert_allclose(value.mean(), 1.501886077819158, rtol=1e-12)

  def test_attention_maps(self):
    one, seven = (
      losses.attention_map(jnp.asarray(_features(k))) for k in (1, 7)
    )
    np.testing.assert_allclose(
      one.reshape(2, 4),
      [[1, 0.24411636, 0, 0.41988767], [1, 0.41703520, 0, 0.24696883]],
      atol=6e-9,
    )
    np.testing.assert_allclose(
      seven.reshape(2, 4),
      [[1, 0.33068714, 0, 0.33331690], [0.81580995, 1, 0.17588059, 0]],
      atol=6e-9,
    )
    np.testing.assert_allclose(
      jnp.abs(one - seven).mean(), 0.1703932260315288, rtol=1e-12
    )

  def test_attention_gradient_flows_through_minimum_and_maximum(self):
    weights = jnp.arange(1.0, 9).reshape(2, 2, 2)
    grads = jax.grad(lambda f: jnp.sum(losses.attention_map(f) * weights))(
      jnp.asarray(_features(1))
    )
    np.testing.assert_allclose(
      grads[..., 0].reshape(2, 4),
      [
        [-4.75930841, 4.39094456, -8.41352527, 8.78188912],
        [-9.80595010, 13.13894626, -20.85159117, 17.51859501],
      ],
      atol=6e-9,
    )

  def test_constant_map(self):
    value, grads = jax.value_and_grad(lambda f: losses.attention_map(f).sum())(
      jnp.ones((1, 2, 2, 3))
    )
    self.assertEqual(float(value), 0)
    np.testing.assert_array_equal(grads, 0)

  def test_triplet(self):
    a, p, n = (jnp.asarray(_features(k).mean(axis=(1, 2))) for k in (1, 3, 2))
    np.testing.assert_allclose(
      losses.angular_distance(a, p), [0.33297892, 0.24505305], atol=6e-9
    )
    np.testing.assert_allclose(
      losses.angular_distance(a, n), [0.07042532, 0.12722231], atol=6e-9
    )
    np.testing.assert_allclose(
      losses.triplet(a, p, n, margin=0.03).mean(),
      0.22019216883800063,
      rtol=1e-12,
    )
    self.assertEqual(float(losses.triplet(a, n, p, margin=0.03).sum()), 0)

  def _nets(self):
    student = Table(
      {'clean': jnp.asarray(N), 'adv': jnp.asarray(S)},
      {
        'adv': jnp.asarray(_features(1)),
        'clean': jnp.asarray(_features(3)),
        'other_adv': jnp.asarray(_features(2)),
      },
    )
    teacher = Table(
      {'clean': jnp.asarray(P)},
      # On the other image it attends as the student: that term is 0.
      {'clean': jnp.asarray(_features(7)), 'other': jnp.asarray(_features(2))},
    )
    return {'student': student, 'teacher': teacher}

  # LS-CE; MART's two terms with beta 6; attention; triplet and norms.
  PARTS = {
    'always': 1.501886077819158,
    'mart': 1.9359984770335144,
    'agkd': 0.1703932260315288,
    'bml': 0.44111797718219237,
  }

  @parameterized.parameters('joint', 'separate')
  def test_loss(self, statistics):
    value, _ = _loss('agkd_bml', self._nets(), statistics=statistics)
    np.testing.assert_allclose(value, sum(self.PARTS.values()), rtol=1e-12)

  @parameterized.parameters('mart', 'agkd', 'bml')
  def test_switches(self, part):
    value, _ = _loss('agkd_bml', self._nets(), **{part: False})
    left = sum(v for name, v in self.PARTS.items() if name != part)
    np.testing.assert_allclose(value, left, rtol=1e-12)

  def test_attention_counts_the_other_image(self):
    nets = self._nets()
    del nets['teacher'].features['other']
    _, (_, terms) = _loss('agkd_bml', nets)
    other = losses.attention_map(jnp.asarray(_features(2))).mean()
    np.testing.assert_allclose(
      terms['student/loss_attention'], 0.1703932260315288 + other, rtol=1e-12
    )


def _softmax(z):
  return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def _kl(target, logits, temperature=1.0):
  """Of each example, written out."""
  t, s = _softmax(target / temperature), _softmax(logits / temperature)
  return (t * (np.log(t) - np.log(s))).sum(-1)


def _ce(logits):
  return -np.log(_softmax(logits)[np.arange(2), LABELS])


class FormulaTest(Float64):
  """Losses of distillation against their formulas in NumPy.

  The teacher's logits are P on clean images and T on adversarial ones; the
  natural teacher's are Q on adversarial ones.
  """

  T, Q = _grid(3, 1.7), _grid(11, 1.2)

  def _nets(self):
    logits = lambda adv: {'clean': jnp.asarray(P), 'adv': jnp.asarray(adv)}
    return {
      'student': Table(_params()['student']),
      'teacher': Table(logits(self.T)),
      'natural_teacher': Table(logits(self.Q)),
    }

  def _value(self, name, **kwargs):
    return float(_loss(name, self._nets(), **kwargs)[0])

  @parameterized.parameters(('batchmean', 1), ('mean', 4))
  def test_ard(self, reduction, divisor):
    value = self._value('ard', alpha=0.7, temperature=30.0, reduction=reduction)
    # The teacher sees clean images, the student adversarial ones; labels
    # belong to the clean ones.
    expected = 0.7 * 900 * _kl(P, S, 30.0).mean() / divisor
    expected += 0.3 * _ce(N).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-9)

  @parameterized.parameters(('batchmean', 1), ('mean', 4))
  def test_rslad(self, reduction, divisor):
    value = self._value('rslad', reduction=reduction, scale=10.0)
    expected = 5 / 6 * _kl(P, S).mean() + 1 / 6 * _kl(P, N).mean()
    np.testing.assert_allclose(value, 10 * expected / divisor, rtol=1e-12)

  def test_akd2(self):
    def soft(target):
      return -(_softmax(target / 2) * np.log(_softmax(S / 2))).sum(-1).mean()

    expected = 0.3 * _ce(S).mean() + 4 * (
      0.1 * soft(self.Q) + 0.6 * soft(self.T)
    )
    np.testing.assert_allclose(self._value('akd2'), expected, rtol=1e-12)

  @parameterized.product(weighted=(True, False), epoch=(59, 60))
  def test_iad1(self, weighted, epoch):
    value = self._value(
      'iad1', alpha=0.8, temperature=2.0, weight_teacher=weighted, epoch=epoch
    )
    trusted = _softmax(self.T)[np.arange(2), LABELS] ** 0.1
    from_teacher, from_itself = 4 * _kl(P, S, 2.0), 4 * _kl(N, S, 2.0)
    expected = from_teacher
    if epoch == 60:
      share = trusted if weighted else 1
      expected = share * from_teacher + (1 - trusted) * from_itself
    expected = 0.8 * expected.mean() + 0.2 * _ce(N).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-12)

  @parameterized.parameters(39, 40)
  def test_iad2(self, epoch):
    trusted = _softmax(self.T)[np.arange(2), LABELS] ** 0.1
    robust = _kl(self.T, S)
    if epoch == 40:
      robust = trusted * robust + (1 - trusted) * _kl(N, S)
    expected = 0.25 * _ce(S) + 0.5 * robust + 0.25 * _kl(self.Q, S)
    value = self._value('iad2', epoch=epoch)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-12)

  @parameterized.parameters(('batchmean', 1), ('mean', 4))
  def test_adaad(self, reduction, divisor):
    value = self._value('adaad', alpha=0.9, reduction=reduction)
    expected = 0.9 * _kl(self.T, S).mean() + 0.1 * _kl(P, N).mean()
    np.testing.assert_allclose(value, expected / divisor, rtol=1e-12)

  def test_adaiad(self):
    """The teacher's term has T^2, the student's own is at temperature 1."""
    trusted = _softmax(self.T)[np.arange(2), LABELS] ** 0.1
    from_teacher = 9 * trusted * _kl(self.T, S, 3.0)
    for kwargs, from_itself in (
      ({}, (1 - trusted) * _kl(N, S)),
      ({'self_temperature': 3.0}, 9 * (1 - trusted) * _kl(N, S, 3.0)),
    ):
      value = self._value('adaiad', temperature=3.0, epoch=60, **kwargs)
      expected = (from_teacher + from_itself).mean()
      np.testing.assert_allclose(value, expected, rtol=1e-12)

  @parameterized.parameters(('trades', 0.0), ('trades', 0.4), ('at', 0.4))
  def test_ltd(self, base_loss, hard_weight):
    value = self._value(
      'ltd', temperature=5.0, base_loss=base_loss, hard_weight=hard_weight
    )
    # The soft label is the teacher's on clean images.
    target = hard_weight * np.eye(4)[LABELS]
    target = target + (1 - hard_weight) * _softmax(P / 5)
    logits = N if base_loss == 'trades' else S
    expected = -(target * np.log(_softmax(logits))).sum(-1).mean()
    if base_loss == 'trades':
      expected += 6 * _kl(N, S).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-12)

  @parameterized.parameters(
    'ard', 'rslad', 'akd2', 'iad1', 'iad2', 'adaad', 'adaiad', 'ltd', 'agkd_bml'
  )
  def test_teachers_get_no_gradient(self, name):
    def loss(teacher, natural):
      nets = self._nets()
      nets['teacher'] = Table(teacher)
      nets['natural_teacher'] = Table(natural)
      return _loss(name, nets, epoch=100)[0]

    logits = {'clean': jnp.asarray(P), 'adv': jnp.asarray(self.T)}
    for grads in jax.grad(loss, argnums=(0, 1))(logits, logits):
      for leaf in jax.tree.leaves(grads):
        np.testing.assert_array_equal(leaf, 0)

  @parameterized.parameters('iad1', 'iad2', 'adaiad')
  def test_own_clean_prediction_gets_gradient(self, name):
    def loss(clean):
      nets = self._nets()
      nets['student'] = Table({'clean': clean, 'adv': jnp.asarray(S)})
      return _loss(name, nets, epoch=100)[0]

    self.assertGreater(
      float(jnp.abs(jax.grad(loss)(jnp.asarray(N))).max()), 1e-4
    )


if __name__ == '__main__':
  absltest.main()
