"""The training log: readable, resumable, and readable by TensorBoard."""

import json

from absl.testing import absltest

from peeraid_jax.runtime import metrics_log
from tests import helpers


class MetricsLogTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    self.path = self.workdir / 'metrics.jsonl'

  def _records(self):
    return [json.loads(line) for line in self.path.read_text().splitlines()]

  def _write(self, resumed_from, steps):
    writer = metrics_log.Writer(self.workdir, step=resumed_from)
    for step in steps:
      writer.write(step, {'loss': step / 2})
    writer.close()

  def test_records_after_the_restored_step_are_dropped(self):
    self._write(0, (1, 2, 3, 4))
    self._write(2, (3,))
    self.assertEqual(
      self._records(),
      [{'step': s, 'loss': s / 2} for s in (1, 2, 3)],
    )

  def test_half_a_line_at_the_end_is_dropped(self):
    self._write(0, (1, 2))
    with self.path.open('a') as file:
      file.write('{"step": 3, "lo')
    self.assertEqual(
      [r['step'] for r in metrics_log.read(self.workdir)], [1, 2]
    )
    self._write(5, (6,))
    self.assertEqual([r['step'] for r in self._records()], [1, 2, 6])

  def test_no_nan_in_json(self):
    writer = metrics_log.Writer(self.workdir, step=0)
    writer.write(1, {'loss': float('nan')})
    writer.close()
    self.assertEqual(self._records(), [{'step': 1, 'loss': None}])

  def test_events(self):
    self._write(0, (1, 2))
    events = list((self.workdir / 'tensorboard').glob('events.*'))
    self.assertLen(events, 1)
    self.assertIn(b'loss', events[0].read_bytes())


if __name__ == '__main__':
  absltest.main()
