"""Checkpoints: what was saved comes back, and bad ones are named."""

import chex
import jax
import jax.numpy as jnp
from absl.testing import absltest

from peeraid_jax import build, checkpoint, nets, parallel, results
from peeraid_jax import config as config_lib
from tests import helpers


class CheckpointTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    config = helpers.config()
    results.write(self.workdir / 'config.json', config_lib.to_json(config))
    self.state = parallel.replicate(build.state(config))

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

  def test_a_broken_one_is_named(self):
    checkpoint.save(self.workdir, self._at(3), {}, which='latest')
    folder = self.workdir / 'checkpoints' / 'latest' / '3'
    for path in folder.rglob('*'):
      if path.is_file() and path.stat().st_size > 1000:
        path.write_bytes(path.read_bytes()[:100])
    with self.assertRaisesRegex(ValueError, f'{folder} cannot be read'):
      checkpoint.restore(self.workdir)

  def test_another_network_does_not_fit(self):
    checkpoint.save(self.workdir, self._at(3), {}, which='latest')
    results.write(
      self.workdir / 'config.json',
      config_lib.to_json(helpers.config(model__width=8)),
    )
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      checkpoint.restore(self.workdir)


if __name__ == '__main__':
  absltest.main()
