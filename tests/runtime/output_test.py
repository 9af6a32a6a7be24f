"""A standard stream that fails ends the output, not the command."""

import os
import subprocess
import sys

from absl.testing import absltest

_CODE = """
import sys
from peeraid_jax.runtime import output, progress
output.protect()
for _ in range(3):
  progress.say('x' * 20_000)
  print('another line', flush=True)
sys.stderr.write('at the end')
"""


def _run(**streams):
  return subprocess.run(
    [sys.executable, '-c', _CODE], check=False, text=True, timeout=60, **streams
  )


class OutputTest(absltest.TestCase):
  def test_nobody_reads_it(self):
    read, write = os.pipe()
    os.close(read)
    done = _run(stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    self.assertEqual(done.returncode, 0)
    self.assertEqual(
      done.stderr.splitlines(),
      [
        'note: the standard output cannot be written (Broken pipe); the run '
        'goes on without it',
        'at the end',
      ],
    )

  def test_nobody_reads_either_stream(self):
    read, write = os.pipe()
    os.close(read)
    done = _run(stdout=write, stderr=write)
    os.close(write)
    self.assertEqual(done.returncode, 0)

  def test_full_disk(self):
    if not os.path.exists('/dev/full'):
      self.skipTest('this system has no /dev/full')
    with open('/dev/full', 'w') as full:
      done = _run(stdout=full, stderr=subprocess.PIPE)
    self.assertEqual(done.returncode, 0)
    self.assertIn('(No space left on device)', done.stderr)

  def test_a_stream_that_works(self):
    done = _run(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    self.assertEqual(done.stdout.count('another line'), 3)
    self.assertEqual(done.stderr, 'at the end')


if __name__ == '__main__':
  absltest.main()
