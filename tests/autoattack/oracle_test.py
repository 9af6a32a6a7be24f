"""Compares with the authors' PyTorch package: pip install -e '.[oracle]'.

Both attack the same small network: each attack alone, then all in order.
"""

import itertools

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from experiments.benchmarks import twins
from peeraid_jax import autoattack

pytestmark = pytest.mark.slow
torch = pytest.importorskip('torch')
pyautoattack = pytest.importorskip('pyautoattack')

POINTS = 1000
NAMES = {
  'apgd_ce': 'apgd-ce',
  'apgd_dlr': 'apgd-dlr',
  'apgd_t': 'apgd-t',
  'fab_t': 'fab-t',
  'square': 'square',
}


class OracleTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # Long runs: compiling with optimisations takes less time than it saves.
    jax.config.update('jax_disable_most_optimizations', False)
    cls.addClassCleanup(
      jax.config.update, 'jax_disable_most_optimizations', True
    )
    # PyTorch's waiting threads would slow down other tests.
    torch.set_num_threads(1)
    weights = twins.trained()
    cls.logits_fn = jax.tree_util.Partial(twins.logits_fn, weights)
    cls.twin = twins.in_torch(weights)
    cls.images, cls.labels = twins.points(POINTS)
    cls.x = torch.from_numpy(cls.images.transpose(0, 3, 1, 2).copy())
    cls.y = torch.from_numpy(cls.labels.astype(np.int64))

  def _theirs(self, norm, **kwargs):
    """Returns which points are robust by the package, bool [N]."""
    evaluation = pyautoattack.AutoAttack(
      self.twin, norm=norm, eps=twins.EPSILON[norm], **kwargs
    )
    if 'attacks' in kwargs:
      evaluation.apgd.n_restarts = 1
    adv, _ = evaluation.run_standard_evaluation(self.x, self.y, batch_size=500)
    with torch.no_grad():
      return (self.twin(adv).argmax(1) == self.y).numpy()

  def _ours(self, norm, **kwargs):
    """Returns which points are robust by `autoattack.run`, bool [N]."""
    report = autoattack.run(
      self.logits_fn,
      self.images,
      self.labels,
      norm=norm,
      epsilon=twins.EPSILON[norm],
      batch_size=500,
      **kwargs,
    )
    return np.array(report.outcome) == autoattack.ROBUST

  def test_same_network(self):
    with torch.no_grad():
      theirs = self.twin(self.x).numpy()
    ours = np.asarray(self.logits_fn(self.images))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    self.assertGreater(np.mean(ours.argmax(-1) == self.labels), 0.9)

  @parameterized.parameters(
    *(('Linf', name, 0.004) for name in NAMES),
    ('L2', 'apgd_ce', 0.004),
    ('L2', 'fab_t', 0.003),
    ('L2', 'square', 0.008),
    ('L1', 'apgd_ce', 0.014),
    ('L1', 'fab_t', 0.003),
    ('L1', 'square', 0.014),
  )
  def test_one_attack(self, norm, name, tolerance):
    alone = {'version': 'custom', 'attacks': (name,), 'restarts': 1}
    # FAB-T is deterministic. Seeds of APGD-CE in L2 have a standard deviation
    # of up to 0.004: the fast attacks run with more seeds, for a precise mean.
    seeds = range({'fab_t': 1, 'apgd_ce': 8, 'apgd_dlr': 8}.get(name, 3))
    ours = np.array(
      [self._ours(norm, key=jax.random.key(s), **alone) for s in seeds]
    )
    theirs = np.array(
      [
        self._theirs(norm, version='custom', attacks=[NAMES[name]], seed=seed)
        for seed in seeds
      ]
    )
    self.assertBetween(np.mean(theirs), 0.1, 0.9)
    same = np.mean(ours[:, None] == theirs[None])
    self.assertAlmostEqual(np.mean(ours), np.mean(theirs), delta=tolerance)
    if name == 'fab_t':
      self.assertGreaterEqual(same, 0.998)
      return
    # We should agree with the package on as many points as two seeds of the
    # package agree on.
    pairs = list(itertools.combinations(theirs, 2))
    expected = np.mean([np.mean(one == other) for one, other in pairs])
    self.assertGreaterEqual(same, expected - 0.01)

  @parameterized.parameters(
    ('Linf', 0.002, 0.997), ('L2', 0.003, 0.995), ('L1', 0.008, 0.98)
  )
  def test_standard(self, norm, tolerance, alike):
    ours = self._ours(norm)
    theirs = self._theirs(norm, version='standard', seed=0)
    self.assertBetween(np.mean(theirs), 0.1, 0.9)
    self.assertAlmostEqual(np.mean(ours), np.mean(theirs), delta=tolerance)
    self.assertGreaterEqual(np.mean(ours == theirs), alike)


if __name__ == '__main__':
  absltest.main()
