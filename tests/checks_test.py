"""Checks of numbers, counts, radii and names."""

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import checks


class ChecksTest(parameterized.TestCase):
  def test_all_kinds_of_numbers(self):
    for value in (2, 2.0, np.int8(2), np.float32(2), np.array(2), jnp.array(2)):
      self.assertEqual(checks.number('x', value), 2)
      self.assertEqual(checks.whole('x', value), 2)
      self.assertIs(type(checks.whole('x', value)), int)

  def test_none_of_these_is_one(self):
    nothing = (None, True, np.bool_(True), '2', b'2', [2], np.array([2]), 1j)
    for value in (*nothing, float('nan'), float('inf'), -1, 10**400):
      for check in (checks.number, checks.whole):
        with self.assertRaisesRegex(ValueError, '^x='):
          check('x', value)

  def test_limits(self):
    self.assertEqual(checks.whole('x', 3, least=3, most=3), 3)
    with self.assertRaisesRegex(ValueError, r'x=4 .*in \[1, 3\]'):
      checks.whole('x', 4, most=3)
    with self.assertRaisesRegex(ValueError, 'x=0 .*at least 1'):
      checks.whole('x', 0)
    self.assertEqual(checks.number('x', -5, least=-10), -5)

  @parameterized.parameters(('Linf', 1.0), ('L2', 4.0), ('L1', 16.0))
  def test_the_largest_radius_joins_black_and_white(self, norm, most):
    shape = (4, 4, 1)
    self.assertEqual(checks.radius('x', most, norm=norm, shape=shape), most)
    with self.assertRaisesRegex(ValueError, f'{norm}: .*Did you mean 17 / 255'):
      checks.radius('x', 17, norm=norm, shape=shape)
    if norm != 'Linf':
      self.assertEqual(checks.radius('x', 17, norm=norm), 17)

  def test_names(self):
    checks.one_of('x', 'a', ('a', 'b'))
    for value in ('c', None, ['a']):
      with self.assertRaisesRegex(ValueError, 'x=.* unknown; known: a, b'):
        checks.one_of('x', value, ('a', 'b'))


if __name__ == '__main__':
  absltest.main()
