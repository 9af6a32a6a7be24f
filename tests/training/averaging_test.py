"""Weight averaging against a computation by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel
from peeraid_jax.training import averaging
from tests import helpers


class AverageTest(absltest.TestCase):
  def test_first_copies_then_equal_weights(self):
    models = [{'w': jnp.array([x, -x])} for x in (3.0, 6.0, 0.0, 7.0)]
    mean = {'w': jnp.array([99.0, 99.0])}  # The first model replaces it.
    for count, model in enumerate(models):
      mean = averaging.average(mean, model, count)
      expected = np.mean([m['w'] for m in models[: count + 1]], axis=0)
      np.testing.assert_allclose(mean['w'], expected, rtol=1e-6)


class StatisticsTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.data = batches.Resident(*helpers.digits(32))
    self.order = np.arange(32, dtype=np.int32).reshape(2, 16)
    self.position = np.arange(16, dtype=np.int32)

  def _reestimated(self, devices):
    net = helpers.net(axis_name=parallel.AXIS)
    run = averaging.make_reestimate(
      {'padding': 0, 'flip': False}, devices=devices
    )
    rows = [
      batches.Rows(
        parallel.split(index, devices), parallel.split(self.position, devices)
      )
      for index in self.order
    ]
    return run(
      parallel.replicate(net, devices),
      rows,
      parallel.replicate(self.data, devices),
      jax.random.key(0),
    )

  def test_mean_over_batches_of_the_stem(self):
    """Without augmentation the stem's statistics can be computed directly."""
    net = self._reestimated(jax.devices()[:1])
    kernel = net.params['stem_conv']['kernel']
    means, variances = [], []
    for index in self.order:
      images = batches.take(self.data, index).images
      y = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), 'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )  # fmt: skip
      means.append(np.mean(y, axis=(0, 1, 2)))
      variances.append(np.var(y, axis=(0, 1, 2)))
    stem = net.batch_stats['stem_norm']
    np.testing.assert_allclose(
      stem['mean'], np.mean(means, axis=0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
      stem['var'], np.mean(variances, axis=0), rtol=1e-3, atol=1e-6
    )

  def test_old_statistics_are_forgotten_and_devices_do_not_matter(self):
    one = self._reestimated(jax.devices()[:1])
    two = self._reestimated(jax.devices()[:2])
    chex.assert_trees_all_close(
      jax.device_get(one.batch_stats),
      jax.device_get(two.batch_stats),
      rtol=1e-3,
      atol=1e-5,
    )
    chex.assert_trees_all_equal(
      jax.device_get(one.params), jax.device_get(two.params)
    )


if __name__ == '__main__':
  absltest.main()
