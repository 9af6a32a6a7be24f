"""AutoAttack on the networks of a run: the parts of several processes."""

import jax
import numpy as np
from absl.testing import absltest

from peeraid_jax import autoattack, cascade
from tests import linear


class MergedTest(absltest.TestCase):
  def _run(self, rows):
    report = autoattack.run(
      self.fn,
      self.images[rows],
      self.labels[rows],
      epsilon=0.05,
      version='custom',
      attacks=('apgd_ce', 'fab_t'),
      restarts=1,
      batch_size=8,
      key=jax.random.key(0),
    )
    return report.to_json()

  def test_parts_are_the_whole(self):
    self.fn, _ = linear.network(4)
    self.images, self.labels = linear.points(self.fn, wrong=3)
    count = len(self.labels)
    whole = self._run(np.arange(count))
    # As two processes look at them, and as three of which one breaks early.
    for parts in (2, 3):
      rows = [np.arange(i, count, parts) for i in range(parts)]
      reports = [self._run(r) for r in rows]
      merged = cascade._merged(reports, [r.tolist() for r in rows])
      for name in (
        'clean_accuracy',
        'accuracy_after',
        'robust_accuracy',
        'outcome',
        'counts',
        'settings',
      ):
        self.assertEqual(merged[name], whole[name], name)
      self.assertEqual(merged['seconds'], max(r['seconds'] for r in reports))
      self.assertEqual(set(merged), set(whole))

  def test_what_any_part_flags_is_flagged(self):
    self.fn, _ = linear.network(4)
    self.images, self.labels = linear.points(self.fn, wrong=0)
    parts = [self._run(np.arange(i, 4, 2)) for i in range(2)]
    parts[0]['flags'], parts[1]['flags'] = {}, {'nan': 'some are'}
    merged = cascade._merged(parts, [[0, 2], [1, 3]])
    self.assertEqual(merged['flags'], {'nan': 'some are'})


if __name__ == '__main__':
  absltest.main()
