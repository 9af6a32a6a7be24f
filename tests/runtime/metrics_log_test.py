"""The training log: readable, resumable, and readable by TensorBoard."""

import json
from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.runtime import metrics_log, progress
from tests import helpers


class MetricsLogTest(parameterized.TestCase):
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

  @parameterized.parameters(
    # damaged lines, in the middle and at the end
    (b'', b'{"step": 3, "lo'),
    (b'', b'{"step": 3, "lo' + b'\0' * 500),
    (b'{"step": 2, "lo\xff\xfe\n', b''),
    (b'{"step": tru\n[]\n{"loss": 1}\n', b''),
    (b'{"step": true}\n{"step": 1.5}\n', b'null'),
    (b'[' * 100_000 + b'\n', b''),
  )
  def test_a_damaged_line_costs_no_other(self, middle, end):
    self._write(0, (1, 2))
    with self.path.open('ab') as file:
      file.write(middle + b'{"step": 4, "loss": 2.0}\n' + end)
    for _ in range(2):  # Reading changes nothing.
      records = metrics_log.read(self.workdir)
      self.assertEqual([r['step'] for r in records], [1, 2, 4])
    with mock.patch.object(progress, 'say') as say:
      self._write(5, (6,))
    self.assertEqual([r['step'] for r in self._records()], [1, 2, 4, 6])
    damaged = b''.join(line + b'\n' for line in [*middle.split(b'\n'), end])
    aside = self.workdir / 'metrics.jsonl.damaged'
    self.assertEqual(
      aside.read_bytes().split(), damaged.split(), 'nothing is lost'
    )
    self.assertRegex(say.call_args.args[0], r'note: [123] damaged line.* moved')
    with mock.patch.object(progress, 'say') as say:
      self._write(6, (7,))
    say.assert_not_called()

  @parameterized.parameters(b'', b'{"step": 3, "loss": 1.5}\n')
  def test_null_bytes_after_a_power_cut(self, after):
    self._write(0, (1, 2))
    with self.path.open('ab') as file:
      file.write(b'\0' * 4096 + after)
    with mock.patch.object(progress, 'say') as say:
      self._write(3, (4,))
    say.assert_not_called()
    steps = [1, 2, 3, 4] if after else [1, 2, 4]
    self.assertEqual([r['step'] for r in self._records()], steps)

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
