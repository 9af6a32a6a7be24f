"""Standard streams: closed ones, and those that cannot show a character."""

import io
import subprocess
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.runtime import terminal
from tests import helpers

# Prints the descriptor of the first file that is opened, to that file.
_CODE = """
import sys
from peeraid_jax.runtime import terminal
terminal.prepare()
print('out'), print('err', file=sys.stderr), sys.stdin.read()
with open(sys.argv[1], 'w') as file:
  file.write(str(file.fileno()))
"""


class TerminalTest(parameterized.TestCase):
  @parameterized.parameters('', '<&-', '>&-', '2>&-', '<&- >&- 2>&-')
  def test_no_file_gets_the_number_of_a_closed_stream(self, closed):
    path = str(helpers.folder(self) / 'file')
    command = [sys.executable, '-c', _CODE, path]
    subprocess.run(
      ['bash', '-c', f'exec "$@" {closed}', '', *command],
      stdin=subprocess.DEVNULL,
      capture_output=True,
      check=True,
      timeout=60,
    )
    with open(path) as file:
      self.assertGreater(int(file.read()), 2)

  @parameterized.parameters(('ascii', b'\\xe9 \\udcff'), ('utf-8', b''))
  def test_characters_that_cannot_be_shown_are_escaped(self, encoding, shown):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    with mock.patch.object(sys, 'stdout', stream):
      terminal.prepare()
    stream.write('\xe9 \udcff')
    stream.flush()
    self.assertEqual(raw.getvalue(), shown or 'é '.encode() + b'\\udcff')


if __name__ == '__main__':
  absltest.main()
