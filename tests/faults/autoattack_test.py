"""AutoAttack's state after faults, and networks that return no numbers."""

import functools
import json
import os
import shutil
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import state as state_lib
from tests import helpers, linear

EPSILON = 0.01
REPLACE = os.replace


def _linear(weights, images):
  return (images.reshape(len(images), -1) - 0.5) @ weights


def _network(factor=1.0, seed=0):
  """A network as an argument: all of them share one compiled program."""
  _, weights = linear.network(4, seed=seed)
  return jax.tree_util.Partial(_linear, np.float32(factor) * weights)


def _evaluate(fn, points, **kwargs):
  kwargs = {'epsilon': EPSILON, 'batch_size': 8, 'restarts': 1, **kwargs}
  return linear.evaluate(
    fn, *points, **{'version': 'custom', 'attacks': ('apgd_ce',), **kwargs}
  )


class Killed(BaseException):
  """As a signal: it is no `Exception`, and nothing catches it."""


class StateTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.fn = _network()
    self.points = linear.points(self.fn)
    self.path = helpers.folder(self) / 'aa.json'
    self.images = self.path.with_name('aa.json.images.npy')
    self.whole = _evaluate(self.fn, self.points)
    self.assertGreater(self.whole.counts['apgd_ce'], 3)
    self.assertGreater(self.whole.counts['robust'], 3)

  def _resume(self, fn=None):
    return _evaluate(fn or self.fn, self.points, state_path=self.path)

  def _interrupt(self, after=1):
    """Leaves the state of an evaluation that stopped after some batches."""
    batches = []

    def tick(progress):
      if progress.attack != 'clean':
        batches.append(progress)
      if len(batches) > after:
        raise Killed

    with self.assertRaises(Killed):
      _evaluate(self.fn, self.points, state_path=self.path, tick=tick)
    self.assertTrue(self.path.exists())

  def _assert_whole(self, report):
    self.assertEqual(report.outcome, self.whole.outcome)
    self.assertEqual(report.accuracy_after, self.whole.accuracy_after)
    np.testing.assert_array_equal(report.adversarial, self.whole.adversarial)

  def _assert_refused(self, message, fn=None):
    """The error names the file; without the file, evaluations start anew."""
    with self.assertRaisesRegex(ValueError, message) as raised:
      self._resume(fn)
    text = str(raised.exception)
    self.assertIn(str(self.path), text)
    self.assertIn('delete', text)
    self.assertNotIn('\n', text)
    self.path.unlink()
    self._assert_whole(self._resume())

  @parameterized.parameters(
    # Other predictions; the same predictions at another temperature; and the
    # same number of correct ones.
    {'seed': 5},
    {'factor': 0.9},
    {'factor': 1.02},
  )
  @pytest.mark.fault('states of other evaluations', count=2)
  def test_another_network(self, **changed):
    for after in (1, 1000):
      if after == 1:
        self._interrupt(after)
      else:
        self._resume()
      self._assert_refused('state of another network', _network(**changed))

  @pytest.mark.fault('states of other evaluations')
  def test_the_same_network_on_another_device(self):
    self._interrupt()
    report = self._resume(_network(factor=1.001))
    self.assertEqual(report.outcome, self.whole.outcome)
    self.assertEqual(report.flags, {})

  def _without_identity(self):
    """Rewrites the state as an earlier version saved it."""
    content = json.loads(self.path.read_text())
    for name in ('digest', 'checksum'):
      content.pop(name)
    content['progress'].pop('label_logits')
    content['progress'].pop('images_code')
    store = mock.Mock(_path=self.path)
    store._digest = json.loads(self.path.read_text())['digest']
    state_lib.Store.write(store, content)

  @pytest.mark.fault('states of other evaluations', count=2)
  def test_state_of_an_earlier_version(self):
    self._interrupt()
    self._without_identity()
    report = self._resume()
    self._assert_whole(report)
    self.assertEqual(list(report.flags), ['network_not_compared'])
    # A finished evaluation stays readable, with the same flag.
    self.assertEqual(self._resume().flags, report.flags)
    self._assert_refused('state of another network', _network(seed=5))

  @parameterized.parameters(
    {'epsilon': 0.02}, {'steps': 7}, {'key': jax.random.key(3)}
  )
  @pytest.mark.fault('states of other evaluations')
  def test_other_settings(self, **changed):
    self._resume()
    with self.assertRaisesRegex(ValueError, 'state of another evaluation'):
      _evaluate(self.fn, self.points, state_path=self.path, **changed)

  @parameterized.parameters(*range(5))
  @pytest.mark.fault('interruptions', count=2)
  def test_killed_while_the_state_is_written(self, write):
    """Before and after the file is replaced; the images come first."""
    for replaced in (False, True):
      self.path.unlink(missing_ok=True)
      calls = []

      def replace_or_die(*paths, calls=calls, replaced=replaced):
        calls.append(paths)
        if len(calls) <= write or replaced:
          REPLACE(*paths)
        if len(calls) > write:
          raise Killed

      with (
        mock.patch.object(os, 'replace', replace_or_die),
        self.assertRaises(Killed),
      ):
        self._resume()
      self._assert_whole(self._resume())

  @pytest.mark.fault('interruptions')
  def test_images_that_no_state_lists(self):
    """Written before a kill, they count only once the state lists them."""
    self._interrupt()
    images = np.load(self.images, mmap_mode='r+')
    robust = self.whole.outcome.index('robust')
    images[robust] = 0.25
    images.flush()
    self._assert_whole(self._resume())

  @parameterized.named_parameters(
    ('empty', lambda content: b''),
    ('half', lambda content: content[: len(content) // 2]),
    ('bytes', lambda content: bytes(range(256))),
    ('no_object', lambda content: b'[1, 2]'),
    ('other_json', lambda content: b'{"a": 1}'),
    ('one_digit', lambda content: content.replace(b'0, 0', b'0, 2', 1)),
    ('zeros', lambda content: bytes(len(content))),
  )
  @pytest.mark.fault('damaged files')
  def test_damaged_state(self, damage):
    self._interrupt()
    self.path.write_bytes(damage(self.path.read_bytes()))
    self._assert_refused('is not the state of an evaluation')

  @parameterized.named_parameters(
    ('empty', lambda content: b''),
    ('cut', lambda content: content[:200]),
    ('no_header', lambda content: bytes(128) + content[128:]),
    ('zeros', lambda content: content[:128] + bytes(len(content) - 128)),
    ('one_bit', None),
  )
  @pytest.mark.fault('damaged files')
  def test_damaged_images(self, damage):
    self._interrupt()
    content = self.images.read_bytes()
    if damage is None:
      broken = self.whole.outcome.index('apgd_ce')
      place = 128 + broken * self.points[0][0].nbytes
      flipped = bytes([content[place] ^ 1])
      self.images.write_bytes(content[:place] + flipped + content[place + 1 :])
    else:
      self.images.write_bytes(damage(content))
    self._assert_refused('cannot be read|damaged')

  @pytest.mark.fault('damaged files', count=2)
  def test_images_that_are_missing_or_others(self):
    self._interrupt()
    self.images.unlink()
    self._assert_refused('cannot be read')
    self.path.unlink()
    self._interrupt()
    np.save(self.images, np.zeros((2, 5, 6, 1), np.float32))
    self._assert_refused('holds other images')

  @pytest.mark.fault('damaged files', count=3)
  def test_folders_and_files_in_the_way(self):
    for path in (self.path, self.images):
      path.mkdir()
      with self.assertRaisesRegex(ValueError, f'{path} is a folder; name'):
        self._resume()
      shutil.rmtree(path)
    self.path.write_text('')
    with self.assertRaisesRegex(OSError, str(self.path)):
      _evaluate(self.fn, self.points, state_path=self.path / 'below.json')


def _with_nan(kind, fn, images, where=lambda first: first > 0.9):
  """A network that computes no number for some values of the first pixel.

  Args:
    kind: 'nan' or 'inf' logits, 'one' NaN beside numbers, or a 'gradient' of
      NaN at logits that are right.
    fn: the network.
    images: [B, H, W, C].
    where: first pixel -> whether it is such a value.
  """
  first = images[:, 0, 0]
  logits = fn(images)
  if kind == 'gradient':
    # The derivative of the root of 0 is infinite, and 0 times that is NaN.
    bad = jnp.where(where(first), 0.0, 1.0)
    return logits + 0 * jnp.sqrt(bad * images[:, 1, 1])
  bad = {'nan': jnp.nan, 'inf': jnp.inf, 'one': jnp.nan}[kind]
  chosen = where(first)
  if kind == 'one':
    chosen = chosen & (jnp.arange(logits.shape[-1]) == 2)[None]
  return jnp.where(chosen, bad, logits)


class NoNumbersTest(parameterized.TestCase):
  ATTACKS = ('apgd_ce', 'apgd_dlr', 'apgd_t', 'fab', 'fab_t', 'square')

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(2)
    images = rng.uniform(0.3, 0.7, (6, *linear.SHAPE)).astype(np.float32)
    fn = _network()
    # The label that `argmax` makes of NaN is the right one for some.
    order = np.array(fn(images)).argmax(-1)[0]
    self.fn = jax.tree_util.Partial(
      lambda shift, fn, x: jnp.roll(fn(x), shift, -1), -order, fn
    )
    self.images = images
    self.labels = np.array(self.fn(images)).argmax(-1)
    self.assertEqual(self.labels[0], 0)

  def _run(self, kind, images, attacks):
    fn = jax.tree_util.Partial(functools.partial(_with_nan, kind), self.fn)
    return _evaluate(
      fn, (images, self.labels), attacks=attacks, epsilon=0.001, steps=5
    )

  @parameterized.parameters('nan', 'inf', 'one')
  @pytest.mark.fault('networks without numbers')
  def test_clean_images_without_prediction_are_misclassified(self, kind):
    images = self.images.copy()
    images[0, 0, 0] = 0.95
    report = self._run(kind, images, ('apgd_ce',))
    self.assertEqual(report.outcome[0], 'misclassified')
    self.assertIn('1 points', report.flags['not_finite'])

  @parameterized.product(kind=('nan', 'inf', 'one'), attack=ATTACKS)
  @pytest.mark.fault('networks without numbers')
  def test_an_attack_that_leads_to_no_prediction_succeeds(self, kind, attack):
    """The network computes numbers for the clean images alone."""
    images = self.images.copy()
    images[:, 0, 0] = 0.5
    fn = jax.tree_util.Partial(
      functools.partial(_with_nan, kind, where=lambda first: first != 0.5),
      self.fn,
    )
    labels = np.array(self.fn(images)).argmax(-1)
    self.assertIn(0, labels)
    report = _evaluate(
      fn, (images, labels), attacks=(attack,), epsilon=0.2, steps=2
    )
    self.assertEqual(report.counts, {attack: len(labels)})
    self.assertTrue(np.isfinite(report.adversarial).all())
    self.assertIn('not_finite', report.flags)

  @parameterized.parameters(*ATTACKS[:5])
  @pytest.mark.fault('networks without numbers')
  def test_gradients_that_are_nan_are_flagged(self, attack):
    images = self.images.copy()
    images[0, 0, 0] = 0.95
    report = self._run('gradient', images, (attack,))
    self.assertIn('not_finite', report.flags)
    self.assertIn('may be overstated', report.flags['not_finite'])
    self.assertTrue(np.isfinite(report.adversarial).all())


if __name__ == '__main__':
  absltest.main()
