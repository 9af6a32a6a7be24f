"""What processes conclude from each other's words; all of them in this one."""

import threading
import time
from unittest import mock

from absl.testing import absltest, parameterized
from jax._src import distributed

from peeraid_jax.runtime import board, interrupts, peers


class _Store(dict):
  """JAX's key-value store, in this process."""

  def key_value_set(self, key, value, allow_overwrite=False):
    assert allow_overwrite or key not in self
    self[key] = value

  def key_value_dir_get(self, prefix):
    return [(k, v) for k, v in self.items() if k.startswith(prefix)]


class _Ended(Exception):
  """Takes the place of the end of this process."""


class PeersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.boards = [board.Board(_Store(), 0, 3)]
    store = self.boards[0]._store
    self.boards += [board.Board(store, index, 3) for index in (1, 2)]
    self.watches = [peers.Watch(b, patience=30) for b in self.boards]
    self.asked = []
    self.received = None
    for name, value in (
      ('end', self._end),
      ('ask', lambda error, text='': self.asked.append(error)),
      ('received', lambda: self.received),
    ):
      self.enter_context(mock.patch.object(interrupts, name, value))

  def _end(self, code, text):
    raise _Ended(code, text)

  def _look(self, watch):
    watch._read()
    watch._stop_with_others()
    watch._judge()

  def test_after_a_signal_all_stop_at_the_same_call(self):
    calls = (10, 12, 11)
    for watch, count in zip(self.watches, calls, strict=True):
      self.assertFalse(any(watch.may_stop() for _ in range(count)))
    self.received = 15
    self._look(self.watches[1])
    self.received = None
    for _ in range(3):
      for watch in self.watches:
        self._look(watch)
    for watch, count in zip(self.watches, calls, strict=True):
      for call in range(count + 1, 14):
        self.assertEqual(watch.may_stop(), call == 13)
    self.assertEqual({error.number for error in self.asked}, {15})

  def test_calls_wait_while_all_agree(self):
    self.boards[1].write('signal', 15)
    watch = self.watches[0]
    self._look(watch)
    stops = []
    thread = threading.Thread(target=lambda: stops.append(watch.may_stop()))
    thread.start()
    time.sleep(0.05)
    self.assertEmpty(stops)
    for other in self.watches[1:]:
      self._look(other)
    self._look(watch)
    thread.join(60)
    self.assertEqual(stops, [True])

  def test_one_that_does_not_answer_is_dead(self):
    watch = self.watches[0]
    for look in range(60):
      self.boards[1].write('alive', look)
      self._look(watch)
    self.boards[1].write('alive', 60)
    with self.assertRaisesRegex(_Ended, 'process 2 died.*no answer for 30 s'):
      self._look(watch)

  def test_nobody_died_while_all_were_suspended(self):
    watch = self.watches[0]
    self._look(watch)
    with mock.patch('time.monotonic', return_value=time.monotonic() + 3600):
      self._look(watch)

  def test_a_write_that_fails_is_repeated(self):
    """Otherwise all would wait for ever for those who agree."""
    watch = self.watches[0]
    self.boards[1].write('signal', 15)
    with mock.patch.object(self.boards[0], 'write', side_effect=OSError):
      with self.assertRaises(OSError):
        self._look(watch)
    for other in self.watches[1:]:
      self._look(other)
    for _ in range(2):
      self._look(watch)
    self.assertTrue(watch.may_stop())

  def test_one_that_failed_ends_the_others(self):
    self.watches[1].last_words(1, 'error: its disk is full')
    self._look(self.watches[2])
    with self.assertRaises(_Ended) as got:
      # It has had time to end by itself.
      self._look(self.watches[2])
    text = 'error: process 1: its disk is full'
    self.assertEqual(got.exception.args, (1, text))
    # Whoever hears it from that one does not name itself.
    self.watches[2].last_words(1, text)
    reasons = {left[1] for left in self.boards[0].read()['left'].values()}
    self.assertEqual(reasons, {'process 1: its disk is full'})

  def test_one_that_stopped_in_good_order_leaves_time(self):
    self.watches[1].last_words(143, '')
    self._look(self.watches[2])
    with mock.patch('time.monotonic', return_value=time.monotonic() + 11):
      with self.assertRaisesRegex(_Ended, 'process 1 has stopped'):
        self._look(self.watches[2])

  def test_an_error_that_will_be_reported_when_all_meet(self):
    with mock.patch.object(peers, 'current', self.watches[1]):
      peers.tell_failed('its picture')
    self._look(self.watches[0])
    self.assertEqual([str(e) for e in self.asked], ['process 1: its picture'])

  def test_a_lost_connection(self):
    with self.assertRaisesRegex(_Ended, 'process 0 died'):
      self.watches[1].on_lost()
    self.boards[0].write('left', (0, ''))
    self.watches[2]._read()
    self.watches[2].on_lost()

  def test_the_end_waits_for_all(self):
    for watch in self.watches:
      watch._read()
    threads = [threading.Thread(target=w.finish) for w in self.watches]
    for thread in threads[:2]:
      thread.start()
    time.sleep(0.2)
    self.assertTrue(threads[0].is_alive())
    threads[2].start()
    until = time.monotonic() + 60
    while any(t.is_alive() for t in threads) and time.monotonic() < until:
      for watch in self.watches:
        watch._read()
      time.sleep(0.01)
    self.assertFalse(any(thread.is_alive() for thread in threads))

  def test_versions_of_jax_without_the_store(self):
    with mock.patch.object(distributed, 'global_state', object()):
      self.assertIsNone(board.of_run())


if __name__ == '__main__':
  absltest.main()
