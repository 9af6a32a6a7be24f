"""AutoAttack on a run: merging the reports of several processes."""

import jax
import numpy as np
from absl.testing import absltest

from peeraid_jax import autoattack
from peeraid_jax.evaluation import autoattack_run
from tests import linear


class MergedTest(absltest.TestCase):
  def _run(self, rows):
    report = autoattack.run(
      self.logits_fn,
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

  def test_merged_parts_equal_the_whole(self):
    self.logits_fn, _ = linear.network(4)
    self.images, self.labels = linear.points(self.logits_fn, wrong=3)
    count = len(self.labels)
    whole = self._run(np.arange(count))
    # Two processes; and three, of which one has no robust point left early.
    for parts in (2, 3):
      rows = [np.arange(i, count, parts) for i in range(parts)]
      reports = [self._run(r) for r in rows]
      merged = autoattack_run._merged(reports, [r.tolist() for r in rows])
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

  def test_a_flag_of_any_part_is_a_flag_of_the_whole(self):
    self.logits_fn, _ = linear.network(4)
    self.images, self.labels = linear.points(self.logits_fn, wrong=0)
    reports = [self._run(np.arange(i, 4, 2)) for i in range(2)]
    reports[0]['flags'], reports[1]['flags'] = {}, {'nan': 'some are'}
    merged = autoattack_run._merged(reports, [[0, 2], [1, 3]])
    self.assertEqual(merged['flags'], {'nan': 'some are'})


if __name__ == '__main__':
  absltest.main()
