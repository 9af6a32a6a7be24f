"""Wrong images, labels, networks and settings: refused, never evaluated.

Each of them once gave a plausible number, ran without end, or ended in an
error that did not say what was wrong.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import attacks, autoattack, nets
from tests import helpers, linear
from tests.attacks import plane

IMAGES, LABELS = (np.array(part) for part in plane.points(6))
SETTINGS = {'epsilon': 0.1, 'step_size': 0.05, 'steps': 2}


def _with(images, value):
  """A copy of images whose first pixel has another value."""
  images = images.copy()
  images.flat[0] = value
  return images


BAD_IMAGES = (
  ('uint8', np.uint8(255 * IMAGES), r'are uint8, .*pass images / 255'),
  ('whole', np.int32(255 * IMAGES), r'are int32, .*pass images / 255'),
  ('pixels', 255 * IMAGES, r'\[0, 1\]; got .*pass images / 255'),
  ('normalised', 4 * IMAGES - 2, r'\[0, 1\]; got .*inside of the network'),
  ('nan', _with(IMAGES, np.nan), '1 of 6 images hold NaN'),
  ('infinite', _with(IMAGES, np.inf), r'\[0, 1\]; got .*inf'),
  ('one_image', IMAGES[0], r'\[N, H, W, C\], got \(2, 2, 1\)'),
  ('none', IMAGES[:0], 'N at least 1'),
  ('list', IMAGES.tolist(), 'should be an array .*got list'),
)
BAD_LABELS = (
  ('floats', LABELS.astype(np.float32), r'integers \[6\].*got float32'),
  ('one_hot', np.eye(2, dtype=int)[LABELS], r'integers \[6\].*\(6, 2\)'),
  ('too_few', LABELS[:5], r'integers \[6\].*\(5,\)'),
  ('too_large', LABELS + 1, r'in \[1, 2\].*\[0, 1\].*2 classes'),
  ('negative', LABELS - 1, r'-1'),
  ('list', LABELS.tolist(), r'integers \[6\]'),
)
BAD_NETWORKS = (
  ('no_batch', lambda x: plane.logits_fn(x)[0], r'logits \[B, K\]'),
  ('one_number', lambda x: plane.logits_fn(x)[:, 0], r'logits \[B, K\]'),
  ('several', lambda x: (plane.logits_fn(x), x), r'logits \[B, K\].*tuple'),
  ('transposed', lambda x: plane.logits_fn(x).T, r'logits \[B, K\]'),
  ('classes', lambda x: plane.logits_fn(x).argmax(-1)[:, None], 'int32'),
  ('nan', lambda x: plane.logits_fn(x) / 0, 'NaN'),
)
BAD_SETTINGS = (
  ({'epsilon': 8}, r'epsilon=8 .*8 / 255'),
  ({'epsilon': 8, 'norm': 'L2'}, r'epsilon=8 .*at most 2 in L2.*8 / 255'),
  ({'epsilon': float('nan')}, 'epsilon=nan'),
  ({'epsilon': float('inf'), 'norm': 'L2'}, 'epsilon=inf'),
  ({'epsilon': '8/255'}, "epsilon='8/255' should be a finite number"),
  ({'epsilon': True}, 'epsilon=True'),
  ({'step_size': float('nan')}, 'step_size=nan'),
  ({'step_size': float('inf')}, 'step_size=inf'),
  ({'step_size': 2}, 'step_size=2 .*2 / 255'),
  ({'step_size': -0.1}, 'step_size=-0.1'),
  ({'steps': 0}, 'steps=0'),
  ({'steps': -3}, 'steps=-3'),
  ({'steps': 2.5}, 'steps=2.5'),
  ({'steps': float('nan')}, 'steps=nan'),
  ({'steps': '20'}, "steps='20'"),
  ({'steps': True}, 'steps=True'),
  ({'restarts': 0}, 'restarts=0'),
  ({'restarts': True}, 'restarts=True'),
  ({'restarts': float('nan')}, 'restarts=nan'),
  ({'norm': 'L1'}, "norm='L1' is unknown; known: Linf, L2"),
  ({'norm': ['Linf']}, 'norm=.* is unknown'),
  ({'start': None}, 'start=None is unknown'),
  ({'start_scale': float('nan'), 'start': 'normal'}, 'start_scale=nan'),
  ({'start_scale': -1, 'start': 'normal'}, 'start_scale=-1'),
)
ATTACKS = {
  'pgd': lambda fn, x, y: attacks.pgd(fn, x, y, jax.random.key(0), **SETTINGS),
  'cw': lambda fn, x, y: attacks.cw(fn, x, y, jax.random.key(0), **SETTINGS),
  'fgsm': lambda fn, x, y: attacks.fgsm(fn, x, y, epsilon=0.1),
  'named': lambda fn, x, y: attacks.named(
    'pgd2', epsilon=0.1, step_size=0.05, norm='Linf', restarts=2
  )(fn, x, y, jax.random.key(0)),
}


def _for_each_attack(cases):
  """Yields (name of the test, attack, bad value, message)."""
  for attack in ATTACKS:
    for name, value, message in cases:
      yield f'{attack}_{name}', attack, value, message


class AttacksTest(parameterized.TestCase):
  @parameterized.named_parameters(*_for_each_attack(BAD_IMAGES))
  @pytest.mark.fault('wrong images')
  def test_images(self, attack, images, message):
    with self.assertRaisesRegex(ValueError, message):
      ATTACKS[attack](plane.logits_fn, images, LABELS)

  @parameterized.named_parameters(*_for_each_attack(BAD_LABELS))
  @pytest.mark.fault('wrong labels')
  def test_labels(self, attack, labels, message):
    with self.assertRaisesRegex(ValueError, message):
      ATTACKS[attack](plane.logits_fn, IMAGES, labels)

  @parameterized.named_parameters(*BAD_NETWORKS)
  @pytest.mark.fault('wrong networks', count=len(ATTACKS))
  def test_networks(self, network, message):
    for attack in ATTACKS.values():
      with self.assertRaisesRegex(ValueError, message):
        attack(network, IMAGES, LABELS)

  @parameterized.parameters(*BAD_SETTINGS)
  @pytest.mark.fault('wrong settings')
  def test_settings(self, change, message):
    with self.assertRaisesRegex(ValueError, message):
      attacks.pgd(
        plane.logits_fn,
        IMAGES,
        LABELS,
        jax.random.key(0),
        **{**SETTINGS, **change},
      )

  @parameterized.parameters(
    ({'restarts': 0}, 'restarts=0'),
    ({'restarts': True}, 'restarts=True'),
    ({'epsilon': 8}, 'epsilon=8'),
    ({'epsilon': float('nan')}, 'epsilon=nan'),
    ({'step_size': float('nan')}, 'step_size=nan'),
    ({'step_size': 'x'}, "step_size='x'"),
    ({'norm': None}, 'norm=None'),
  )
  @pytest.mark.fault('wrong settings', count=3)
  def test_settings_of_named_attacks(self, change, message):
    """They are refused before the attack is called."""
    settings = {'epsilon': 0.1, 'step_size': 0.05, 'norm': 'Linf', **change}
    for name in ('pgd20', 'cw30', 'fgsm'):
      with self.assertRaisesRegex(ValueError, message):
        attacks.named(name, **settings)

  @pytest.mark.fault('wrong images', count=len(BAD_IMAGES))
  def test_images_that_are_not_attacked(self):
    clean = attacks.named('clean', epsilon=0, step_size=0, norm='Linf')
    for _, images, message in BAD_IMAGES:
      with self.assertRaisesRegex(ValueError, message):
        clean(plane.logits_fn, images, LABELS, jax.random.key(0))

  @pytest.mark.fault('wrong settings', count=3)
  def test_keys(self):
    for key in (0, None, jax.random.PRNGKey(0)):
      with self.assertRaisesRegex(ValueError, r'jax.random.key\(seed\)'):
        attacks.pgd(plane.logits_fn, IMAGES[:2], LABELS[:2], key, **SETTINGS)

  @pytest.mark.fault('wrong settings', count=2)
  def test_norm_of_a_projection(self):
    for norm in ('L3', None):
      with self.assertRaisesRegex(ValueError, 'norm=.* is unknown'):
        attacks.project(IMAGES, IMAGES, epsilon=0.1, norm=norm)

  @pytest.mark.fault('wrong settings', count=2)
  def test_margin_of_cw(self):
    for kappa in (float('nan'), 'x'):
      with self.assertRaisesRegex(ValueError, 'kappa='):
        attacks.cw(
          plane.logits_fn,
          IMAGES,
          LABELS,
          jax.random.key(0),
          kappa=kappa,
          **SETTINGS,
        )

  @pytest.mark.fault('wrong images', count=2)
  def test_images_that_are_traced(self):
    """Under `jax.jit` values are not known, but type and shape are."""
    attack = jax.jit(
      lambda x, y: attacks.pgd(
        plane.logits_fn, x, y, jax.random.key(0), **SETTINGS
      )
    )
    with self.assertRaisesRegex(ValueError, 'pass images / 255'):
      attack(np.uint8(255 * IMAGES), LABELS)
    with self.assertRaisesRegex(ValueError, r'integers \[6\]'):
      attack(IMAGES, LABELS[:5])

  @pytest.mark.fault('wrong networks', count=2)
  def test_a_restart_without_prediction_is_the_strongest(self):
    """Logits that are NaN are no correct prediction, whatever the label."""
    images = jnp.full((2, 2, 2, 1), 0.5)

    def fails_when_darker(x):
      # Class 0 wins, except where no number comes out.
      logits = jnp.stack([jnp.ones(len(x)), jnp.zeros(len(x))], -1)
      nan = jnp.where(x.mean((1, 2, 3)) < 0.5, jnp.nan, 0)[:, None]
      return logits + nan

    attacked = attacks.pgd(
      fails_when_darker,
      images,
      jnp.zeros(2, int),
      jax.random.key(0),
      epsilon=0.1,
      step_size=0.0,
      steps=1,
      start='uniform',
      restarts=20,
    )
    np.testing.assert_array_less(attacked.mean((1, 2, 3)), 0.5)


class PredictTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.net = helpers.net()
    self.images = helpers.digits(4).images / np.float32(255)

  @parameterized.named_parameters(
    (
      'larger',
      lambda x: np.tile(x, (1, 2, 2, 1)),
      r'\(16, 16, 1\).*\(8, 8, 1\)',
    ),
    ('smaller', lambda x: x[:, :4, :4], r'\(4, 4, 1\).*\(8, 8, 1\)'),
    ('colour', lambda x: np.tile(x, 3), r'\(8, 8, 3\).*\(8, 8, 1\)'),
    ('channels_first', lambda x: x.transpose(0, 3, 1, 2), r'\(1, 8, 8\)'),
    ('whole', lambda x: np.int64(255 * x), r'are int64.*pass images / 255'),
    ('bool', lambda x: x > 0.5, 'are bool'),
    ('pixels', lambda x: 255 * x, r'in \[0, 1\]; got'),
    ('nan', lambda x: _with(x, np.nan), '1 of 4 images hold NaN'),
    ('words', lambda x: x.astype(str), 'are <U'),
  )
  @pytest.mark.fault('wrong images')
  def test_images(self, change, message):
    with self.assertRaisesRegex(ValueError, message):
      nets.predict(self.net, change(self.images))

  @parameterized.parameters(0, -1, 2.5, True, '16', None)
  @pytest.mark.fault('wrong settings')
  def test_batch_size(self, size):
    with self.assertRaisesRegex(ValueError, 'batch_size=.* whole number'):
      nets.predict(self.net, self.images, batch_size=size)

  @pytest.mark.fault('wrong images', count=6)
  def test_calls_of_the_network(self):
    for call in (self.net.eval, self.net.train):
      with self.assertRaisesRegex(ValueError, 'pass images / 255'):
        call(np.uint8(255 * self.images))
      with self.assertRaisesRegex(ValueError, r'\[N, H, W, C\]'):
        call(self.images[0])
      with self.assertRaisesRegex(ValueError, r'\(8, 8, 3\).*any, any, 1'):
        call(np.tile(self.images, 3))

  @pytest.mark.fault('wrong images', count=2)
  def test_attacks_on_images_of_another_size(self):
    fn, labels = nets.logits_fn(self.net), np.zeros(4, int)
    images = np.tile(self.images, (1, 2, 2, 1))
    with self.assertRaisesRegex(ValueError, r'\(16, 16, 1\).*\(8, 8, 1\)'):
      attacks.fgsm(fn, images, labels, epsilon=0.1)
    with self.assertRaisesRegex(ValueError, r'\(16, 16, 1\).*\(8, 8, 1\)'):
      autoattack.run(fn, images, labels)
    fn = nets.logits_fn(self.net.replace(shape=None))
    attacks.fgsm(fn, images, labels, epsilon=0.1)

  @pytest.mark.fault('wrong images')
  def test_channels_of_a_network_of_unknown_origin(self):
    """A network that was not created here does not know its images."""
    with self.assertRaisesRegex(ValueError, r'\(8, 8, 3\).* do not fit'):
      nets.predict(self.net.replace(shape=None), np.tile(self.images, 3))


class AutoAttackTest(parameterized.TestCase):
  """Nothing is compiled before all of this is checked."""

  def _run(self, **changes):
    fn, _ = linear.network(4)
    images, labels = linear.points(fn, count=4)
    arguments = {'logits_fn': fn, 'images': images, 'labels': labels}
    with helpers.compilations() as compiled:
      try:
        autoattack.run(**{**arguments, **changes})
      finally:
        self.assertEmpty(compiled)

  @parameterized.parameters(
    *({'batch_size': size} for size in (0, -1, 2.5, True, '16', None)),
    *({'epsilon': e} for e in (8, -0.1, float('nan'), float('inf'), '8/255')),
    {'epsilon': True},
    {'epsilon': 6, 'norm': 'L2'},
    {'epsilon': 31, 'norm': 'L1'},
    *({'steps': s} for s in (0, -1, 2.5, True, '20', None, float('nan'))),
    {'steps': 2, 'norm': 'L1'},
    *({'queries': q} for q in (0, -1, True, '20')),
    *({'restarts': r} for r in (0, -1, True, '2')),
    *({'targets': t} for t in (0, 4, 20, True)),
    *({'classes': c} for c in (3, 5, True, '4')),
    *({'samples': s} for s in (0, -1, 20, True)),
    {'samples': 1, 'version': 'rand'},
    *({'shrinking': s} for s in (True, 1, 'yes')),
    *({'stop_early': s} for s in (0, 'no')),
    *({'version': v} for v in ('fast', None, 3)),
    *({'norm': n} for n in ('L3', None)),
    *(
      {'attacks': a, 'version': 'custom'}
      for a in ([], (), 'square', ['pgd'], [None], ['square', 'square'])
    ),
    {'attacks': []},
    {'step': 3},
    {'n_queries': 0},
    *({'key': k} for k in (0, jax.random.PRNGKey(0))),
    {'key': jax.random.split(jax.random.key(0), 4)},
    {'logits_fn': 'network'},
    {'logits_fn': lambda x, keys: linear.network(4)[0](x)},
    {'logits_fn': linear.network(4)[0], 'version': 'rand'},
    {'search_logits_fn': lambda x: x.sum()},
    {'search_logits_fn': lambda x: linear.network(3)[0](x)},
  )
  @pytest.mark.fault('wrong settings')
  def test_settings(self, **change):
    name = list(change)[0]
    with self.assertRaisesRegex(ValueError, name):
      self._run(**change)

  @parameterized.parameters(
    ('int64', lambda x: np.int64(255 * x), 'are int64'),
    ('nan', lambda x: _with(x, np.nan), '1 of 4 images hold NaN'),
    ('normalised', lambda x: 4 * x - 2, r'in \[0, 1\]; got'),
    ('none', lambda x: x[:0], 'N at least 1'),
  )
  @pytest.mark.fault('wrong images')
  def test_images(self, name, change, message):
    del name
    fn, _ = linear.network(4)
    images, _ = linear.points(fn, count=4)
    with self.assertRaisesRegex(ValueError, message):
      self._run(images=change(images))

  @parameterized.parameters(
    ([0, 1, 2, 4], '4 classes'),
    ([0, 1, 2, -1], 'at least 0, got -1'),
    ([0, 1, 2], r'integers \[4\]'),
    ([0.0, 1, 2, 3], r'integers \[4\]'),
  )
  @pytest.mark.fault('wrong labels')
  def test_labels(self, labels, message):
    with self.assertRaisesRegex(ValueError, message):
      self._run(labels=labels)


if __name__ == '__main__':
  absltest.main()
