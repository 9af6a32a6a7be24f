"""Projections against linear and quadratic programs in small dimension."""

import chex
import jax
import numpy as np
import scipy.optimize
from absl.testing import absltest, parameterized

from peeraid_jax.attacks import projections

DIMENSION = 5


def _problems(count, seed=0, reachable=True):
  rng = np.random.default_rng(seed)
  points = rng.uniform(size=(count, DIMENSION))
  # Some coordinates are on the border of the box, some have no weight.
  points[::4, 0], points[1::4, 1] = 0, 1
  normals = rng.normal(size=(count, DIMENSION))
  normals[::3, 2] = 0
  if reachable:
    targets = rng.uniform(size=(count, DIMENSION))
    offsets = (normals * targets).sum(-1)
  else:
    offsets = np.maximum(normals, 0).sum(-1) + 0.5
  return points, normals, offsets


def _shortest(point, normal, offset, norm):
  """Returns the length of the shortest move onto the plane, by a solver."""
  box = list(zip(-point, 1 - point, strict=True))
  gap = offset - normal @ point
  if norm == 'L2':
    solution = scipy.optimize.minimize(
      lambda m: m @ m,
      np.zeros(DIMENSION),
      jac=lambda m: 2 * m,
      bounds=box,
      constraints={'type': 'eq', 'fun': lambda m: normal @ m - gap},
      method='SLSQP',
      options={'ftol': 1e-14, 'maxiter': 500},
    )
    return np.sqrt(solution.fun)
  # Variables are the move m and bounds of |m_i|: one bound t in Linf, one t_i
  # per coordinate in L1. Their sum is minimised.
  eye = np.eye(DIMENSION)
  if norm == 'Linf':
    sizes = -np.ones((DIMENSION, 1))
  else:
    sizes = -eye
  count = sizes.shape[1]
  solution = scipy.optimize.linprog(
    np.r_[np.zeros(DIMENSION), np.ones(count)],
    A_ub=np.block([[eye, sizes], [-eye, sizes]]),
    b_ub=np.zeros(2 * DIMENSION),
    A_eq=np.r_[normal, np.zeros(count)][None],
    b_eq=[gap],
    bounds=box + [(0, None)] * count,
  )
  return solution.fun


class PlaneTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters(*projections.NORMS)
  def test_shortest_move_onto_the_plane(self, norm):
    points, normals, offsets = _problems(60)
    with jax.enable_x64(True):
      move = np.asarray(
        projections.plane_in_box(points, normals, offsets, norm=norm)
      )
    end = points + move
    np.testing.assert_allclose((normals * end).sum(-1), offsets, atol=1e-9)
    self.assertGreaterEqual(end.min(), -1e-12)
    self.assertLessEqual(end.max(), 1 + 1e-12)
    lengths = np.asarray(projections.norm_of(move, norm))
    for i in range(60):
      expected = _shortest(points[i], normals[i], offsets[i], norm)
      # SLSQP is good to about 1e-6.
      self.assertAlmostEqual(lengths[i], expected, delta=2e-6)

  @parameterized.parameters(*projections.NORMS)
  def test_in_float32(self, norm):
    points, normals, offsets = _problems(60, seed=1)
    single = [np.float32(v) for v in (points, normals, offsets)]
    move = projections.plane_in_box(*single, norm=norm)
    end = np.float32(points) + np.asarray(move)
    np.testing.assert_allclose((normals * end).sum(-1), offsets, atol=2e-6)

  @parameterized.parameters(*projections.NORMS)
  def test_unreachable_plane_ends_in_the_nearest_corner(self, norm):
    points, normals, offsets = _problems(20, reachable=False)
    move = projections.plane_in_box(points, normals, offsets, norm=norm)
    end = points + np.asarray(move)
    weighty = np.abs(normals) > 0
    np.testing.assert_allclose(end[weighty], (normals > 0)[weighty], atol=1e-6)
    np.testing.assert_allclose(end[~weighty], points[~weighty], atol=1e-6)

  @parameterized.parameters(*projections.NORMS)
  def test_a_point_on_the_plane_stays(self, norm):
    points, normals, _ = _problems(20)
    with jax.enable_x64(True):
      offsets = (normals * points).sum(-1)
      move = projections.plane_in_box(points, normals, offsets, norm=norm)
    np.testing.assert_allclose(move, 0, atol=1e-12)


class BallTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.center = rng.uniform(size=(40, DIMENSION))
    self.center[::4, 0] = 0
    self.delta = rng.normal(size=(40, DIMENSION))

  def _project(self, delta, epsilon):
    with jax.enable_x64(True):
      return np.asarray(
        projections.l1_ball_and_box(self.center, delta, epsilon)
      )

  def test_feasible_and_idempotent(self):
    projected = self._project(self.delta, 0.7)
    self.assertLessEqual(np.abs(projected).sum(-1).max(), 0.7 + 1e-12)
    end = self.center + projected
    self.assertGreaterEqual(end.min(), 0)
    self.assertLessEqual(end.max(), 1)
    again = self._project(projected, 0.7)
    np.testing.assert_allclose(again, projected, atol=1e-12)

  def test_nearest(self):
    projected = self._project(self.delta, 0.7)
    # The solver's variables are the positive and the negative part of a move.
    move_of = lambda m: m[:DIMENSION] - m[DIMENSION:]
    for i in range(40):
      center, delta = self.center[i], self.delta[i]
      solution = scipy.optimize.minimize(
        lambda m, d=delta: np.sum((move_of(m) - d) ** 2),
        np.zeros(2 * DIMENSION),
        bounds=[(0, 1 - c) for c in center] + [(0, c) for c in center],
        constraints={'type': 'ineq', 'fun': lambda m: 0.7 - m.sum()},
        method='SLSQP',
        options={'ftol': 1e-14, 'maxiter': 500},
      )
      np.testing.assert_allclose(projected[i], move_of(solution.x), atol=1e-5)

  def test_what_is_inside_stays(self):
    small = np.clip(self.center + 0.01 * self.delta, 0, 1) - self.center
    np.testing.assert_allclose(self._project(small, 0.7), small, atol=1e-15)


if __name__ == '__main__':
  absltest.main()
