"""The store of measurements: measures once, and again what is damaged."""

import numpy as np
from absl.testing import absltest

from peeraid_jax.report import store
from tests import helpers


class StoreTest(absltest.TestCase):
  def test_measured_once(self):
    folder = helpers.folder(self) / 'measured'
    measurements = store.Store(folder, 'abc')
    calls = []

    def get(**settings):
      def measure():
        calls.append(settings)
        return {'a': np.arange(3)}

      return measurements.get('x', settings, measure)

    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    get(n=2)
    self.assertEqual(calls, [{'n': 1}, {'n': 2}])
    self.assertEqual(measurements.commits, {'abc'})
    # A later commit reads what an earlier one measured, under its name.
    later = store.Store(folder, 'def')
    self.assertEqual(list(later.get('x', {'n': 1}, calls.append)), ['a'])
    self.assertEqual(later.commits, {'abc'})
    # Files that are cut off, as on a full disk.
    for file in folder.glob('*.npz'):
      file.write_bytes(file.read_bytes()[:40])
    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    self.assertLen(calls, 3)
    self.assertLen(list(folder.iterdir()), 2)


if __name__ == '__main__':
  absltest.main()
