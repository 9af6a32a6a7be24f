"""Checkpoints: what was saved comes back, and bad ones are named."""

from unittest import mock

import chex
import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import files, nets
from peeraid_jax.runtime import parallel, progress
from peeraid_jax.training import build, checkpoint, checkpoint_files
from tests import helpers


class CheckpointTest(chex.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    config = helpers.config()
    files.write_json(self.workdir / 'config.json', config_lib.to_json(config))
    self.state = parallel.replicate(build.initial_state(build.plan(config)))

  def _at(self, step):
    return self.state.replace(step=jnp.int32(step))

  def test_round_trip(self):
    for which in checkpoint.WHICH:
      meta = {'best': {'score': 0.5}, 'which': which}
      checkpoint.save(self.workdir, self._at(7), meta, which=which)
      state, restored = checkpoint.restore_with_meta(self.workdir, which=which)
      self.assertEqual(restored, meta)
      chex.assert_trees_all_equal(
        jax.device_get(state), jax.device_get(self._at(7))
      )
    student = checkpoint.restore(self.workdir).nets['student']
    logits = nets.predict(student, helpers.digits(3).images)
    self.assertEqual(logits.shape, (3, 10))

  def test_newest_of_two_is_taken_and_a_step_is_replaced(self):
    for step in (1, 2, 3):
      checkpoint.save(self.workdir, self._at(step), {}, which='latest')
    checkpoint.save(self.workdir, self._at(3), {'x': 1}, which='latest')
    self.assertEqual(checkpoint.latest_step(self.workdir), 3)
    kept = {p.name for p in (self.workdir / 'checkpoints/latest').iterdir()}
    self.assertEqual(kept, {'2', '3'})
    self.assertEqual(checkpoint.restore_with_meta(self.workdir)[1], {'x': 1})

  def test_missing(self):
    self.assertIsNone(checkpoint.latest_step(self.workdir))
    with self.assertRaisesRegex(FileNotFoundError, "no 'best' checkpoint"):
      checkpoint.restore(self.workdir, which='best')
    with self.assertRaisesRegex(ValueError, "'newest' .*known: latest, best"):
      checkpoint.restore(self.workdir, which='newest')
    with self.assertRaisesRegex(FileNotFoundError, 'no config.json'):
      checkpoint.restore(self.workdir / 'elsewhere')

  def _damage(self, step, how, *, which='latest'):
    """Damages the files of a checkpoint that hold arrays."""
    folder = self.workdir / 'checkpoints' / which / str(step)
    for path in folder.rglob('*'):
      if not path.is_file() or path.stat().st_size < 1000:
        continue
      content = bytearray(path.read_bytes())
      if how == 'truncated':
        path.write_bytes(content[: len(content) // 2])
      elif how == 'deleted':
        path.unlink()
      else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    return folder

  @parameterized.parameters('truncated', 'deleted', 'bit flipped')
  def test_the_one_before_a_damaged_one_is_taken(self, how):
    for step in (3, 6):
      checkpoint.save(
        self.workdir, self._at(step), {'at': step}, which='latest'
      )
    folder = self._damage(6, how)
    with mock.patch.object(progress, 'say') as say:
      state, meta = checkpoint.restore_with_meta(self.workdir)
    self.assertEqual((int(state.step), meta), (3, {'at': 3}))
    told = say.call_args.args[0]
    self.assertIn(str(folder), told)
    self.assertIn('Going on from step 3', told)
    self.assertTrue(folder.exists())
    with mock.patch.object(progress, 'say') as say:
      self.assertEqual(checkpoint.resume(self.workdir).which, 'latest')
    self.assertRegex(say.call_args.args[0], 'moved to .*/bad/latest-6-0')
    self.assertEqual(checkpoint.latest_step(self.workdir), 3)
    self.assertTrue((self.workdir / 'checkpoints/bad/latest-6-0').is_dir())

  def test_what_is_readable_and_yet_not_what_was_saved(self):
    checkpoint.save(self.workdir, self._at(3), {'x': 1}, which='latest')
    path = self.workdir / 'checkpoints/latest/3/meta/metadata'
    path.write_text(path.read_text().replace('"x": 1', '"x": 2'))
    with self.assertRaisesRegex(ValueError, '3 is not what was saved'):
      checkpoint.restore(self.workdir)
    with mock.patch.object(
      checkpoint_files, 'digest', return_value='of others'
    ):
      checkpoint.save(self.workdir, self._at(4), {}, which='latest')
    with self.assertRaisesRegex(ValueError, '4 is not what was saved'):
      checkpoint.restore(self.workdir)

  def test_all_damaged(self):
    checkpoint.save(self.workdir, self._at(3), {}, which='latest')
    checkpoint.save(self.workdir, self._at(3), {}, which='best')
    folder = self._damage(3, 'truncated', which='best')
    with self.assertRaisesRegex(ValueError, f'no checkpoint is left.*{folder}'):
      checkpoint.restore(self.workdir, which='best')
    folder = self._damage(3, 'bit flipped')
    with self.assertRaisesRegex(ValueError, f'{folder} .*start again'):
      checkpoint.resume(self.workdir)
    self.assertEqual(checkpoint.latest_step(self.workdir), 3)

  def test_not_to_be_written(self):
    (self.workdir / 'checkpoints').write_text('a file')
    with self.assertRaisesRegex(OSError, 'step 3 cannot be saved .*disk full'):
      checkpoint.save(self.workdir, self._at(3), {}, which='latest')

  def test_another_network_does_not_fit(self):
    checkpoint.save(self.workdir, self._at(3), {}, which='latest')
    files.write_json(
      self.workdir / 'config.json',
      config_lib.to_json(helpers.config(model__width=8)),
    )
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      checkpoint.restore(self.workdir)

  def test_which_holds_a_role(self):
    for role, preference, which in (
      ('student', 'best', 'best'),
      ('student_swa', 'best', 'best_swa'),
      ('peer', 'best', 'best'),
      ('student_swa', 'latest', 'latest'),
    ):
      self.assertEqual(checkpoint.which_of(role, preference), which)


if __name__ == '__main__':
  absltest.main()
