"""Locks that several processes wait for."""

import contextlib
import io
import os
import threading
import time
from unittest import mock

from absl.testing import absltest

from peeraid_jax.data import lock
from tests import helpers


class SharedFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.path = self.folder / 'file'

  def test_the_second_waits_and_says_for_whom(self):
    order = []

    def second():
      with lock.held(self.path, 'paints'):
        order.append('second')

    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
      with lock.held(self.path, 'paints') as alone:
        self.assertTrue(alone)
        thread = threading.Thread(target=second)
        thread.start()
        until = time.monotonic() + 60
        while not printed.getvalue() and time.monotonic() < until:
          time.sleep(0.001)
        order.append('first')
      thread.join(60)
    self.assertEqual(order, ['first', 'second'])
    self.assertRegex(
      printed.getvalue(), f'waiting for process {os.getpid()} on .*paints'
    )

  def test_file_systems_without_locks(self):
    error = OSError(next(iter(lock._NO_LOCKS)), '')
    with mock.patch('fcntl.flock', side_effect=error):
      with lock.held(self.path, '') as alone:
        self.assertFalse(alone)


if __name__ == '__main__':
  absltest.main()
