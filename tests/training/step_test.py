"""The step: gradients that are added up over parts of a batch."""

import os
from unittest import mock

import chex
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build
from tests import helpers

OPTIMIZER = {
  'optimizer__student__momentum': 0.0,
  'optimizer__student__learning_rate': 0.1,
}


def _one_step(made, *, devices=1):
  stepper = helpers.Stepper(made, devices=devices)
  state, told = stepper.take(stepper.start(), 1)
  return jax.device_get(state), told[0]


class MicrobatchesTest(chex.TestCase, parameterized.TestCase):
  def test_mean_of_the_parts(self):
    """Gradients are averaged, running statistics go from part to part."""
    made = helpers.config('pgd_at', train__microbatches=2, **OPTIMIZER)
    state, told = _one_step(made)

    stepper = helpers.Stepper(helpers.config('pgd_at', **OPTIMIZER))
    start = jax.device_get(stepper.start()).nets['student']
    rows = stepper.rows(0)
    halves, losses = [], []
    for part in (slice(0, 8), slice(8, 16)):
      half = batches.Rows(rows.index[:, part], rows.position[:, part])
      new, metrics = stepper._step(
        stepper.start(), half, stepper._data, stepper._key
      )
      halves.append(jax.device_get(new).nets['student'])
      losses.append(float(metrics['loss']))
    a, b = halves
    self.assertAlmostEqual(told['loss'], np.mean(losses), places=5)
    found = state.nets['student']
    chex.assert_trees_all_close(
      found.params,
      jax.tree.map(lambda x, y: (x + y) / 2, a.params, b.params),
      rtol=1e-4,
      atol=1e-6,
    )
    chex.assert_trees_all_close(
      found.batch_stats,
      jax.tree.map(
        lambda x, y, s: 0.9 * x + (y - 0.9 * s),
        a.batch_stats,
        b.batch_stats,
        start.batch_stats,
      ),
      rtol=1e-4,
      atol=1e-6,
    )

  def test_one_device_equals_two(self):
    self._test_devices('peeraid')

  @pytest.mark.slow
  def test_one_device_equals_two_where_images_are_drawn(self):
    self._test_devices('agkd_bml')

  def _test_devices(self, method):
    made = helpers.config(method, train__microbatches=2)
    if method == 'agkd_bml':
      made.model.student = made.model.teacher = 'wideresnet10x1'
      made.method.kwargs.agkd = False
    one, two = (_one_step(made, devices=d) for d in (1, 2))
    chex.assert_trees_all_close(one, two, rtol=5e-3, atol=5e-4)

  def test_weight_perturbation_of_length_0(self):
    made = helpers.config('pgd_at', train__microbatches=2)
    without = _one_step(made)[0]
    made.awp.enabled, made.awp.gamma = True, 0.0
    chex.assert_trees_all_close(
      _one_step(made)[0].nets, without.nets, rtol=1e-5, atol=1e-6
    )
    made.awp.gamma = 0.1
    far = _one_step(made)[0]
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_close(far.nets, without.nets, rtol=1e-3)


class CraftingInPartsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('peeraid', {}),
    ('agkd_bml', {'agkd': False}),  # draws further images
    # Batch statistics belong to the whole batch.
    ('ard', {'train_mode_attack': True}),
  )
  def test_a_part_at_a_time_is_the_same(self, method, kwargs):
    made = helpers.config(method)
    if method == 'agkd_bml':
      made.model.student = made.model.teacher = 'wideresnet10x1'
    made.method.kwargs.update(kwargs)
    found = []
    for pixels in (1000 * 64, 5 * 64):
      with mock.patch.object(build, '_CPU_CRAFT_PIXELS', pixels):
        found.append(_one_step(made))
    # A sign of a gradient near 0 may differ by rounding.
    chex.assert_trees_all_close(*found, rtol=5e-3, atol=5e-4)

  def test_parts_are_taken(self):
    seen = []

    def craft(nets, batch, keys):
      seen.append((len(batch.images), len(batch.labels), len(keys)))
      return {'images': batch.images}

    made = helpers.config('natural')
    method = build.plan(made).method._replace(craft=craft)
    with (
      # Five would do, four divide.
      mock.patch.object(build, '_CPU_CRAFT_PIXELS', 5 * 64),
      mock.patch.object(build, '_method', lambda config: method),
    ):
      _one_step(made)
    self.assertEqual(set(seen), {(4, 4, 4)})


class CoresTest(parameterized.TestCase):
  @parameterized.parameters(
    # cores, batch sizes, pixels of an image, devices
    (2, (128, 256), 1024, 2),
    (16, (128, 256), 1024, 4),  # 32 images of 32x32 each
    (16, (128, 256), 4096, 16),
    (16, (128, 100), 4096, 4),
    (3, (128, 256), 1024, 2),
    (2, (125, 256), 1024, 1),
    (16, (64, 256), 64, 1),
    (1, (128, 256), 1024, 1),
  )
  def test_devices(self, cores, sizes, pixels, expected):
    found = self._count(cores, sizes, pixels)
    self.assertEqual(found, [] if expected == 1 else [expected])

  def _count(self, cores, sizes, pixels, **environment):
    told = []
    with (
      mock.patch.dict(os.environ, {'XLA_FLAGS': '', **environment}),
      mock.patch.object(os, 'sched_getaffinity', lambda _: range(cores)),
      mock.patch.object(
        jax.config, 'update', lambda name, value: told.append(value)
      ),
    ):
      parallel.use_cores(sizes, pixels)
      self.assertEqual('timeout_seconds' in os.environ['XLA_FLAGS'], bool(told))
    return told

  def test_what_the_user_said_goes_first(self):
    settings = 2, (128, 256), 1024
    self.assertEmpty(self._count(*settings, JAX_NUM_CPU_DEVICES='1'))
    flags = '--xla_force_host_platform_device_count=4'
    with mock.patch.dict(os.environ, {'XLA_FLAGS': flags}):
      parallel.use_cores((128, 256), 1024)
      self.assertEqual(os.environ['XLA_FLAGS'], flags)
    with mock.patch.object(jax.distributed, 'is_initialized', lambda: True):
      self.assertEmpty(self._count(*settings))

  def test_too_late(self):
    """Here the devices have been asked for long ago."""
    before = jax.devices()
    with (
      mock.patch.dict(os.environ, {'XLA_FLAGS': ''}),
      mock.patch.object(os, 'sched_getaffinity', lambda _: range(4)),
    ):
      parallel.use_cores((128,), 1024)
    self.assertEqual(jax.devices(), before)


class SplitTest(absltest.TestCase):
  def test_a_microbatch_lies_over_all_devices(self):
    devices = jax.devices()[:2]
    found = parallel.split(np.arange(12), devices, parts=3)
    self.assertEqual(found.shape, (2, 3, 2))
    for part in range(3):
      self.assertEqual(
        sorted(found[:, part].ravel()), list(range(4 * part, 4 * part + 4))
      )

  def test_a_batch_that_does_not_divide(self):
    with self.assertRaisesRegex(
      ValueError, 'batch_size=10 does not divide over 2 devices x 3 .* 6 or 12'
    ):
      parallel.check_batch(10, 'train.batch_size', parts=3)


if __name__ == '__main__':
  absltest.main()
