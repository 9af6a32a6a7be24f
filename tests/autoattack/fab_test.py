"""FAB: exact on linear networks, nearest points, against a reference."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.autoattack import fab
from tests import linear
from tests.autoattack import reference


class FABTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_distance_of_fab(self, norm):
    fn, weights = linear.network(3)
    images, labels = linear.points(fn, wrong=0)
    exact = linear.radii(fn, weights, images, labels, norm)
    run = jax.jit(
      lambda x, y: fab.fab(
        fn, x, y, jax.random.key(0), epsilon=1.0, norm=norm, steps=30
      )
    )
    result = run(images, labels)
    # FAB steps a little behind the boundary: eta is 1.05.
    np.testing.assert_array_less(exact * (1 - 1e-4), result.distance)
    np.testing.assert_array_less(result.distance, exact * 1.06)
    outside = fab.fab(
      fn, images, labels, jax.random.key(0), epsilon=0.0, norm=norm, steps=3
    )
    self.assertFalse(bool(outside.broken.any()))
    np.testing.assert_array_equal(outside.images, images)

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_keeps_nearer_misclassified_points(self, norm):
    """More steps find no farther points, and all of them are misclassified."""
    inner, _ = linear.network(4)
    fn = lambda x: jnp.sin(inner(x))
    images, _ = linear.points(fn)
    labels = fn(images).argmax(-1)
    run = jax.jit(
      lambda steps: fab.fab(
        fn,
        images,
        labels,
        jax.random.key(0),
        epsilon=1e9,
        norm=norm,
        steps=steps,
      )
    )
    before = np.full(len(images), 1e10)
    for steps in (1, 2, 4, 8, 16):
      result = run(steps)
      self.assertTrue(np.all(result.distance <= before))
      before = np.asarray(result.distance)
      wrong = fn(result.images).argmax(-1) != labels
      np.testing.assert_array_equal(wrong, result.broken)
      delta = np.asarray(result.images - images).reshape(len(images), -1)
      order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
      np.testing.assert_allclose(
        np.linalg.norm(delta, order, axis=-1)[result.broken],
        result.distance[result.broken],
        rtol=1e-4,
      )
    self.assertGreater(result.broken.sum(), 20)

  @parameterized.product(norm=('Linf', 'L2', 'L1'), targeted=(False, True))
  def test_step_by_step(self, norm, targeted):
    """Compares with the reference, which follows the paper image by image."""
    network = reference.Network()
    images, labels = reference.points(network, 8)
    targets = (labels + 1) % reference.CLASSES if targeted else None
    run = jax.jit(
      lambda x, y, radius: fab.fab(
        lambda x: reference.logits_fn(network, x),
        x,
        y,
        jax.random.key(0),
        epsilon=radius,
        norm=norm,
        steps=12,
        targets=targets,
      )
    )
    result = run(images.astype(np.float32), labels, 1e9)
    with jax.enable_x64(True):
      expected = [
        reference.fab(
          network,
          images[i],
          labels[i],
          norm=norm,
          steps=12,
          target=targets[i] if targeted else None,
        )
        for i in range(len(images))
      ]
    nearest, distances = zip(*expected, strict=True)
    self.assertGreater(sum(d < 1e9 for d in distances), 5)
    np.testing.assert_allclose(result.distance, distances, rtol=1e-3)
    nearest = [
      x if near is None else near
      for x, near in zip(images, nearest, strict=True)
    ]
    np.testing.assert_allclose(result.images, nearest, atol=1e-3)
    # With the median distance as the radius, half of them are broken.
    radius = np.median(distances)
    within = run(images.astype(np.float32), labels, radius)
    np.testing.assert_array_equal(within.broken, np.array(distances) <= radius)
    np.testing.assert_array_equal(
      within.images[~within.broken], images.astype(np.float32)[~within.broken]
    )

  @parameterized.parameters('Linf', 'L2', 'L1')
  def test_restarts_begin_halfway_to_the_ball(self, norm):
    """Draws the start again, and compares the run that begins there."""
    network = reference.Network()
    images, labels = reference.points(network, 4)
    images, epsilon = images.astype(np.float32), 0.2
    keys = jax.random.split(jax.random.key(0), 4)
    result = fab.fab(
      lambda x: reference.logits_fn(network, x),
      images,
      labels,
      keys,
      epsilon=epsilon,
      norm=norm,
      steps=8,
      random_start=True,
    )
    order = {'Linf': np.inf, 'L2': 2, 'L1': 1}[norm]
    for i in range(4):
      draw = jax.random.normal
      if norm == 'Linf':
        draw = lambda k, s: jax.random.uniform(k, s, minval=-1, maxval=1)
      noise = np.asarray(draw(keys[i], reference.SHAPE), np.float64)
      away = 0.5 * epsilon * noise / np.linalg.norm(noise.ravel(), order)
      start = np.clip(images[i] + away, 0, 1)
      with jax.enable_x64(True):
        _, distance = reference.fab(
          network,
          images[i].astype(np.float64),
          labels[i],
          norm=norm,
          steps=8,
          start=start,
        )
      np.testing.assert_allclose(result.distance[i], distance, rtol=1e-3)


if __name__ == '__main__':
  absltest.main()
