"""Square's proposals: how two windows change in L2 and L1."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import square, square_proposals


class ProposalTest(parameterized.TestCase):
  @parameterized.parameters('L2', 'L1')
  def test_second_window_is_emptied_into_the_first(self, norm):
    key = jax.random.key(3)
    shape = (12, 12, 2)
    image = np.full(shape, 0.5, np.float32)
    delta = np.asarray(jax.random.normal(jax.random.key(0), shape)) * 1e-3
    order = {'L2': 2, 'L1': 1}[norm]
    canvas = np.zeros(shape[:2], np.float32)
    canvas[:3, :3] = square.bumps(3, norm)
    candidate = square_proposals.proposal(
      image,
      image + delta,
      key,
      3,
      jnp.asarray(canvas),
      epsilon=np.linalg.norm(delta.ravel(), order),
      norm=norm,
    )
    place, _, other, _ = jax.random.split(key, 4)
    first, second = (
      np.asarray(square_proposals.window(k, 3, shape[:2])[0])
      for k in (place, other)
    )
    self.assertTrue((second & ~first).any())
    moved = np.asarray(candidate) - image
    np.testing.assert_array_equal(moved[second & ~first], 0)
    self.assertTrue((moved[first] != 0).any())
    self.assertTrue((moved[~first & ~second] != 0).any())


if __name__ == '__main__':
  absltest.main()
