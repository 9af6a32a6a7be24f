"""Checkpoints that are damaged, lost or foreign: another one, and a word."""

import json
import os
import pathlib
import shutil
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import files
from peeraid_jax.data import fingerprint
from peeraid_jax.evaluation import networks
from peeraid_jax.runtime import parallel, progress
from peeraid_jax.training import (
  build,
  checkpoint,
  checkpoint_files,
  loop,
  teachers,
)
from tests import helpers

BEST = {
  'best': {'score': 0.5, 'step': 6, 'epoch': 2},
  'best_swa': {'score': 0.5, 'step': 6, 'epoch': 2},
}


def _meta(at: int) -> dict:
  return {'epoch_ended': True, 'best': BEST, 'at': at}


def _without(content: dict, name: str) -> dict:
  return {k: v for k, v in content.items() if k != name}


# What the meta of a checkpoint may have become; the digest is its last field.
METAS = {
  'null': lambda meta: 'null',
  'an empty object': lambda meta: '{}',
  'a list': lambda meta: '[1]',
  'a number': lambda meta: '3',
  'nothing': lambda meta: '',
  'a half': lambda meta: json.dumps(meta)[:20],
  'null bytes': lambda meta: '\0' * 90,
  'without digest': lambda meta: json.dumps(_without(meta, 'sha256')),
  'a digest of null': lambda meta: json.dumps({**meta, 'sha256': None}),
  'another digest': lambda meta: json.dumps({**meta, 'sha256': '0' * 64}),
  'another value': lambda meta: json.dumps({**meta, 'epoch_ended': False}),
}
# Parts of a checkpoint without which it cannot be read.
PARTS = ('meta', 'meta/metadata', 'state', 'state/d', 'state/manifest.ocdbt')


class Case(chex.TestCase, parameterized.TestCase):
  """A run of nine steps with checkpoints at 3, 6 and 9; it is not trained."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.original = helpers.class_folder(cls) / 'run'
    cls.original.mkdir()
    cls.config = helpers.config('natural')
    files.write_json(
      cls.original / 'config.json', config_lib.to_json(cls.config)
    )
    cls.state = parallel.replicate(
      build.initial_state(build.plan(cls.config))
    ).replace(swa_count=jnp.int32(1))
    for which, steps in (
      ('latest', (6, 9)),
      ('best', (6,)),
      ('best_swa', (3,)),
    ):
      for step in steps:
        cls.save_at(step, cls.original, which)

  @classmethod
  def save_at(cls, step, workdir, which='latest', state=None):
    state = (state or cls.state).replace(step=jnp.int32(step))
    checkpoint.save(workdir, state, _meta(step), which=which)

  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self) / 'run'
    shutil.copytree(self.original, self.workdir)
    self.said: list[str] = []
    self.enter_context(mock.patch.object(progress, 'say', self.said.append))

  def path(self, which: str, step: int) -> pathlib.Path:
    return self.workdir / 'checkpoints' / which / str(step)

  def damage(self, which: str, step: int) -> None:
    """Flips a bit in each larger file of its arrays."""
    for path in self.path(which, step).rglob('d/*'):
      if path.is_file() and path.stat().st_size > 1000:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


class DamagedTest(Case):
  def _assert_the_one_before(self):
    """The newest is passed over, with a warning, and moved out of the way."""
    state, meta = checkpoint.restore_with_meta(self.workdir)
    self.assertEqual((int(state.step), meta), (6, _meta(6)))
    told = [text for text in self.said if text.startswith('warning: ')]
    self.assertLen(told, 1, self.said)
    self.assertIn(str(self.path('latest', 9)), told[0])
    self.assertIn('Going on from step 6', told[0])
    self.assertNotIn('\n', told[0])
    self.assertTrue(os.path.lexists(self.path('latest', 9)))
    self.assertEqual(int(checkpoint.resume(self.workdir).state.step), 6)
    self.assertEqual(checkpoint.latest_step(self.workdir), 6)
    aside = self.workdir / 'checkpoints/bad/latest-9-0'
    self.assertTrue(os.path.lexists(aside))

  @parameterized.parameters(*METAS)
  @pytest.mark.fault('checkpoints')
  def test_meta(self, name):
    path = self.path('latest', 9) / 'meta/metadata'
    path.write_text(METAS[name](json.loads(path.read_text())))
    self._assert_the_one_before()

  @parameterized.parameters(*PARTS)
  @pytest.mark.fault('checkpoints')
  def test_a_missing_part(self, part):
    path = self.path('latest', 9) / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    self._assert_the_one_before()

  @parameterized.parameters('empty', 'file', 'link', 'width', 'method')
  @pytest.mark.fault('checkpoints')
  def test_something_else_in_its_place(self, what):
    path = self.path('latest', 9)
    shutil.rmtree(path)
    if what == 'empty':
      path.mkdir()
    elif what == 'file':
      path.write_text('a file')
    elif what == 'link':
      path.symlink_to(self.workdir / 'nowhere')
    else:
      other = {'width': {'model__width': 8}, 'method': {'method': 'peeraid'}}
      config = helpers.config(**{'method': 'natural', **other[what]})
      state = parallel.replicate(build.initial_state(build.plan(config)))
      self.save_at(9, self.workdir / 'other', state=state)
      shutil.copytree(self.workdir / 'other/checkpoints/latest/9', path)
    self._assert_the_one_before()

  @pytest.mark.fault('checkpoints', count=2)
  def test_damaged_twice_at_the_same_step(self):
    for count in range(2):
      self.damage('latest', 9)
      self.assertEqual(int(checkpoint.resume(self.workdir).state.step), 6)
      aside = self.workdir / f'checkpoints/bad/latest-9-{count}'
      self.assertTrue(aside.exists())
      self.save_at(9, self.workdir)

  @pytest.mark.fault('checkpoints')
  def test_early_versions_wrote_no_digest(self):
    for path in self.workdir.rglob('meta/metadata'):
      meta = _without(json.loads(path.read_text()), 'sha256')
      path.write_text(json.dumps(meta))
    self.assertEqual(int(checkpoint.resume(self.workdir).state.step), 9)
    self.assertLen(self.said, 1)
    self.assertRegex(self.said[0], 'note: .*latest/9 has no digest')
    found, _ = networks.restore(self.config, self.workdir)
    self.assertEqual(found['student'][1]['checkpoint'], 'best')

  @pytest.mark.fault('checkpoints', count=2)
  def test_killed_between_the_checkpoints_of_an_epoch_end(self):
    """The run repeats that end, and saves what it had not saved yet."""
    for which in ('best', 'best_swa'):
      checkpoint.save(
        self.workdir, self.state.replace(step=12), _meta(12), which=which
      )
      found = checkpoint.resume(self.workdir)
      self.assertEqual((int(found.state.step), found.which), (9, 'latest'))
    self.assertEmpty(self.said)

  @parameterized.parameters(False, True)
  @pytest.mark.fault('checkpoints')
  def test_killed_while_one_replaces_another(self, moved):
    """Between the two renamings, and before them."""
    latest = self.workdir / 'checkpoints' / 'latest'
    new = latest.with_name('latest.new')
    shutil.copytree(latest / '9', new / '9')
    if moved:
      os.replace(latest / '9', new / 'replaced')
    self.assertEqual(int(checkpoint.resume(self.workdir).state.step), 9)
    self.assertEmpty(self.said)
    self.assertFalse(new.exists())

  @pytest.mark.fault('checkpoints', count=2)
  def test_all_of_the_latest(self):
    """A best checkpoint is whole: the run goes on from it."""
    for step in (6, 9):
      self.damage('latest', step)
    state, meta, which = checkpoint.resume(self.workdir)
    self.assertEqual((int(state.step), which, meta), (6, 'best', _meta(6)))
    self.assertLen(self.said, 2)
    self.assertIsNone(checkpoint.latest_step(self.workdir))
    self.assertEqual(checkpoint.resume(self.workdir).which, 'best')
    for which, step in (('best', 6), ('best_swa', 3)):
      self.damage(which, step)
    with self.assertRaisesRegex(
      ValueError, 'no checkpoint is left .*best/6.*best_swa/3.* start again'
    ):
      checkpoint.resume(self.workdir)

  @pytest.mark.fault('checkpoints', count=2)
  def test_files_where_folders_should_be(self):
    for path in ('checkpoints/latest', 'checkpoints'):
      shutil.rmtree(self.workdir / path)
      (self.workdir / path).write_text('a file')
      with self.assertRaisesRegex(OSError, 'latest should be a folder of'):
        checkpoint.resume(self.workdir)

  @pytest.mark.fault('checkpoints', count=2)
  def test_what_may_not_be_read_is_not_damaged(self):
    """To take an earlier one instead would lose steps without need."""
    for name in ('state', 'meta/metadata'):
      path = self.path('latest', 9) / name
      allowed = lambda p, mode, path=path: p != path
      with (
        mock.patch.object(os, 'access', allowed),
        self.assertRaisesRegex(PermissionError, f'{path} may not be read'),
      ):
        checkpoint.resume(self.workdir)
    self.assertEqual(int(checkpoint.resume(self.workdir).state.step), 9)


class SavingTest(Case):
  def _changed(self):
    net = self.state.nets['student']
    params = jax.tree.map(lambda x: x + 1, net.params)
    nets = {**self.state.nets, 'student': net.replace(params=params)}
    return self.state.replace(nets=nets)

  def _value(self):
    state = checkpoint.restore(self.workdir)
    self.assertEqual(int(state.step), 9)
    return np.asarray(jax.tree.leaves(state.nets['student'].params)[0])

  @parameterized.parameters(
    (ocp.CheckpointManager, 'save'),
    (ocp.CheckpointManager, 'wait_until_finished'),
    (checkpoint_files, '_replace'),
    (os, 'replace'),
  )
  @pytest.mark.fault('checkpoints')
  def test_one_of_the_same_step_outlives_a_save_that_fails(self, where, name):
    before = self._value()
    with (
      mock.patch.object(where, name, side_effect=OSError(28, 'No space left')),
      self.assertRaisesRegex(OSError, 'step 9 cannot be saved .*No space left'),
    ):
      self.save_at(9, self.workdir, state=self._changed())
    np.testing.assert_array_equal(self._value(), before)
    self.save_at(9, self.workdir, state=self._changed())
    np.testing.assert_array_equal(self._value(), before + 1)
    self.assertFalse((self.workdir / 'checkpoints/latest.new').exists())
    self.assertEmpty(self.said)

  @pytest.mark.fault('checkpoints')
  def test_the_last_of_two_renamings_fails(self):
    before, replace = self._value(), os.replace

    def failing(source, target):
      if pathlib.Path(source).parent.name == 'latest.new' and target == (
        self.path('latest', 9)
      ):
        if pathlib.Path(source).name != 'replaced':
          raise OSError(5, 'I/O error')
      replace(source, target)

    with (
      mock.patch.object(os, 'replace', failing),
      self.assertRaisesRegex(OSError, 'I/O error'),
    ):
      self.save_at(9, self.workdir, state=self._changed())
    np.testing.assert_array_equal(self._value(), before)

  @pytest.mark.fault('checkpoints')
  def test_a_file_is_where_it_is_saved(self):
    self.path('latest', 12).write_text('a file')
    self.save_at(12, self.workdir)
    self.assertEqual(int(checkpoint.restore(self.workdir).step), 12)


class EvaluationTest(Case):
  def _sources(self, **fields):
    config = helpers.config('natural', **fields)
    found, _ = networks.restore(config, self.workdir)
    return {role: source for role, (_, source) in found.items()}

  @parameterized.parameters('damaged', 'gone', 'empty')
  @pytest.mark.fault('checkpoints')
  def test_the_best_is_lost(self, how):
    """Its networks come from the latest, which the result says."""
    if how == 'damaged':
      self.damage('best', 6)
    else:
      shutil.rmtree(self.path('best', 6).parent)
      if how == 'empty':
        self.path('best', 6).parent.mkdir()
    sources = self._sources()
    self.assertEqual(
      sources['student'],
      {
        'checkpoint': 'latest',
        'step': 9,
        'warning': "in place of 'best', which is damaged or gone",
      },
    )
    self.assertEqual(sources['student_swa']['checkpoint'], 'best_swa')
    self.assertNotIn('warning', sources['student_swa'])
    self.assertLen(self.said, 1)
    self.assertRegex(
      self.said[0], "warning: .*'latest' of step 9 is taken instead"
    )

  @pytest.mark.fault('checkpoints', count=2)
  def test_the_latest_is_lost_too(self):
    self.damage('best', 6)
    shutil.rmtree(self.path('latest', 9).parent)
    self.assertEqual(self._sources()['student']['checkpoint'], 'best_swa')
    sources = self._sources(eval__checkpoint='latest')
    self.assertEqual(sources['student']['checkpoint'], 'best_swa')
    self.damage('best_swa', 3)
    with self.assertRaisesRegex(ValueError, 'no checkpoint is left'):
      self._sources()

  @pytest.mark.fault('checkpoints')
  def test_a_run_that_has_no_best_yet(self):
    """It did not lose one: nothing else is taken for it."""
    shutil.rmtree(self.workdir / 'checkpoints')
    checkpoint.save(
      self.workdir,
      self.state.replace(step=jnp.int32(1)),
      {'epoch_ended': False, 'best': {}},
      which='latest',
    )
    with self.assertRaisesRegex(FileNotFoundError, "no 'best' checkpoint"):
      self._sources()

  @pytest.mark.fault('checkpoints')
  def test_a_finished_run_with_nothing_but_a_best_swa(self):
    """It takes its last steps again, instead of ending with an error."""
    for which, step in (('latest', 6), ('latest', 9), ('best', 6)):
      self.damage(which, step)
    data = helpers.digits(40)
    plan = build.plan(self.config, examples=40)
    scores = {'select/student/pgd2': 0.9}
    loop.train(plan, self.workdir, data, lambda state, tick: scores)
    self.assertIn('resuming from step 3', self.said)
    self.assertEqual(checkpoint.latest_step(self.workdir), 9)
    self.assertNotIn('warning', self._sources()['student'])

  @pytest.mark.fault('checkpoints')
  def test_a_teacher_is_not_replaced_by_another(self):
    self.damage('best', 6)
    config = helpers.config('ard', teacher__workdir=str(self.workdir))
    plan = build.plan(config)
    state = build.initial_state(plan)
    with self.assertRaisesRegex(
      ValueError, 'best/6.*--config.teacher.checkpoint=latest takes'
    ):
      teachers.load(plan, self.workdir, state)
    config.teacher.checkpoint = 'latest'
    _, sources = teachers.load(build.plan(config), self.workdir, state)
    self.assertEqual(sources['teacher']['checkpoint'], 'latest')


class DataTest(Case):
  """A run goes on with the images that it began with."""

  def _train(self, data):
    plan = build.plan(self.config, examples=len(data.labels))
    scores = {'select/student/pgd2': 0.5}
    loop.train(plan, self.workdir, data, lambda state, tick: scores)

  @parameterized.parameters('a pixel', 'order', 'a label')
  @pytest.mark.fault('changed data')
  def test_other_images(self, what):
    shutil.rmtree(self.workdir / 'checkpoints')
    data = helpers.digits(40)
    self._train(data)
    images, labels = np.array(data.images), np.array(data.labels)
    if what == 'a pixel':
      images[7, 3, 3] ^= 1
    elif what == 'order':
      same = np.flatnonzero(labels == labels[0])[:2]
      images[same] = images[same[::-1]]
    else:
      labels[5] = 9 - labels[5]
    with self.assertRaisesRegex(
      ValueError, 'was trained on other images until now .* then, .* now'
    ):
      self._train(data._replace(images=images, labels=labels))
    self._train(data)

  @pytest.mark.fault('changed data', count=2)
  def test_checkpoints_of_early_versions(self):
    """They know no checksum of the images, or nothing of the data."""
    data = helpers.digits(40)
    full = fingerprint.of(data)
    for known in (_without(full, 'images_crc32'), None):
      meta = {**_meta(12), **({'data': known} if known else {})}
      state = self.state.replace(step=jnp.int32(12))
      checkpoint.save(self.workdir, state, meta, which='latest')
      plan = build.plan(self.config, examples=40)
      _, meta = loop._begin(plan, self.workdir, data)
      self.assertEqual(meta['data'], full)


if __name__ == '__main__':
  absltest.main()
