"""Records: readable, resumable, and readable by TensorBoard."""

import contextlib
import io
import json

from absl.testing import absltest

from peeraid_jax import metrics
from tests import helpers


class WriterTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    self.path = self.workdir / 'metrics.jsonl'

  def _records(self):
    return [json.loads(line) for line in self.path.read_text().splitlines()]

  def _write(self, resumed, steps):
    writer = metrics.Writer(self.workdir, step=resumed)
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

  def test_a_torn_line_is_dropped(self):
    self._write(0, (1, 2))
    with self.path.open('a') as file:
      file.write('{"step": 3, "lo')
    self.assertEqual([r['step'] for r in metrics.read(self.workdir)], [1, 2])
    self._write(5, (6,))
    self.assertEqual([r['step'] for r in self._records()], [1, 2, 6])

  def test_no_nan_in_json(self):
    writer = metrics.Writer(self.workdir, step=0)
    writer.write(1, {'loss': float('nan')})
    writer.close()
    self.assertEqual(self._records(), [{'step': 1, 'loss': None}])

  def test_events(self):
    self._write(0, (1, 2))
    events = list((self.workdir / 'tensorboard').glob('events.*'))
    self.assertLen(events, 1)
    self.assertIn(b'loss', events[0].read_bytes())


class ProgressTest(absltest.TestCase):
  def test_plain_lines_without_a_terminal(self):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      progress = metrics.Progress(total=100, step=0, batch_size=8)
      for step in (10, 20):
        progress.advance()
        scalars = {'loss': 1.5, 'images_per_second': 80.0}
        progress.report(step, scalars)
      progress.close()
    lines = out.getvalue().splitlines()
    self.assertLen(lines, 2)
    self.assertIn('step 20/100: loss 1.500, 80 images/s, 0:00:0', lines[1])

  def test_clock(self):
    self.assertEqual(metrics.clock(3661.4), '1:01:01')


if __name__ == '__main__':
  absltest.main()
