"""The set-up of commands: arguments are checked, errors are one line."""

from unittest import mock

from absl.testing import absltest, parameterized

from peeraid_jax.runtime import command, compilation_cache


class CommandTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # A test does not change the cache of its process.
    self.enter_context(mock.patch.object(compilation_cache, 'enable'))
    self.work = mock.Mock()

  def _run(self, workdir='runs/digits', unexpected=()):
    command.run_command(self.work, workdir=workdir, unexpected=unexpected)

  def test_work_is_done(self):
    self._run()
    self.work.assert_called_once_with()
    compilation_cache.enable.assert_called_once_with()

  @parameterized.parameters(
    (None, (), '--workdir=DIR is missing'),
    ('', (), '--workdir=DIR is missing'),
    ('runs/digits', ('x',), r"unexpected arguments \['x'\]"),
  )
  def test_wrong_arguments(self, workdir, unexpected, message):
    with self.assertRaisesRegex(SystemExit, f'error: {message}'):
      self._run(workdir, unexpected)
    self.work.assert_not_called()

  @parameterized.parameters(ValueError, FileNotFoundError, ImportError)
  def test_expected_errors_are_messages(self, error):
    self.work.side_effect = error('the reason')
    with self.assertRaisesRegex(SystemExit, 'error: the reason'):
      self._run()

  def test_other_errors_keep_their_traceback(self):
    self.work.side_effect = KeyError('a bug')
    with self.assertRaises(KeyError):
      self._run()


if __name__ == '__main__':
  absltest.main()
