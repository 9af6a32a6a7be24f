"""Work directories: their config and their lock."""

from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax.runtime import workdir as workdir_lib
from tests import helpers


class ConfigTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.config = helpers.config()

  def test_the_config_is_written_once_and_read(self):
    workdir_lib.prepare(self.config, self.folder)
    workdir_lib.prepare(self.config, self.folder)
    stored = workdir_lib.read_config(self.folder)
    self.assertEqual(
      config_lib.to_json(stored), config_lib.to_json(self.config)
    )

  def test_another_config(self):
    workdir_lib.prepare(self.config, self.folder)
    other = helpers.config()
    other.seed = 7
    with self.assertRaisesRegex(ValueError, 'seed: 0 there, 7 now'):
      workdir_lib.prepare(other, self.folder)

  def test_no_work_directory(self):
    with self.assertRaisesRegex(FileNotFoundError, 'has no config.json'):
      workdir_lib.read_config(self.folder)

  def test_checkpoints_without_a_config(self):
    (self.folder / 'checkpoints' / 'latest' / '4').mkdir(parents=True)
    with self.assertRaisesRegex(ValueError, 'checkpoints but no config.json'):
      workdir_lib.prepare(self.config, self.folder)

  @parameterized.parameters('', '{"seed":', '[]', '{"unknown": {"a": 1}}')
  def test_a_damaged_config_is_named(self, content):
    path = self.folder / 'config.json'
    path.write_text(content)
    with self.assertRaisesRegex(ValueError, f'{path} is damaged .* Restore'):
      workdir_lib.read_config(self.folder)


class HeldTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self) / 'runs' / 'one'

  def test_one_run_at_a_time(self):
    with workdir_lib.held(self.workdir):
      self.assertTrue(self.workdir.is_dir())
      with (
        self.assertRaisesRegex(BlockingIOError, 'is in use by process'),
        workdir_lib.held(self.workdir),
      ):
        pass
    with workdir_lib.held(self.workdir):
      pass

  def test_a_file_instead_of_a_folder(self):
    self.workdir.parent.mkdir()
    self.workdir.write_text('')
    with (
      self.assertRaisesRegex(NotADirectoryError, 'is not a folder'),
      workdir_lib.held(self.workdir),
    ):
      pass


if __name__ == '__main__':
  absltest.main()
