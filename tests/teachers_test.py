"""Teachers: found, checked, loaded, and trained on demand."""

import pathlib

import chex
import jax
from absl.testing import absltest

from peeraid_jax import checkpoint, results, teachers, train, validate
from peeraid_jax import config as config_lib
from tests import helpers

FILE = str(pathlib.Path(__file__).parent.parent / 'configs/digits.py')


class TeachersTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.folder(cls)
    cls.earlier = cls.folder / 'earlier'
    cls.train('earlier', train__epochs=2, swa__start_epoch=0)

  @classmethod
  def addCleanup(cls, function, *args):
    cls.addClassCleanup(function, *args)

  @classmethod
  def train(cls, name, method='peeraid', **overrides):
    """Trains two steps an epoch; the average is best after the first one."""
    config = helpers.config(method, data__train_examples=32, **overrides)
    workdir = cls.folder / name
    workdir.mkdir()
    results.write(workdir / 'config.json', config_lib.to_json(config))
    data = helpers.digits(32)

    def select(state, tick):
      del tick
      step = int(state.step)
      return {'select/student/pgd2': step, 'select/student_swa/pgd2': 9 - step}

    train.train(config, workdir, data, select)

  def _config(self, method='ltd', **overrides):
    workdir = {'teacher__workdir': str(self.earlier)}
    return helpers.config(method, **{**workdir, **overrides})

  def _equal(self, net, role, which='best'):
    earlier = checkpoint.restore(self.earlier, which=which).nets[role]
    chex.assert_trees_all_equal(
      jax.device_get((net.params, net.batch_stats)),
      jax.device_get((earlier.params, earlier.batch_stats)),
    )

  def test_roles_of_an_earlier_run(self):
    for role, wanted, which, step in (
      ('student', 'best', 'best', 4),
      ('student', 'latest', 'latest', 4),
      ('student_swa', 'best', 'best_swa', 2),
      ('student_swa', 'latest', 'latest', 4),
      ('peer', 'best', 'best', 4),
    ):
      with self.subTest(f'{role} {wanted}'):
        config = self._config(teacher__role=role, teacher__checkpoint=wanted)
        state, told = train.initial_state(config, self.folder / 'run')
        self._equal(state.nets['teacher'], role, which)
        self.assertEqual(told['teacher']['method'], 'peeraid')
        self.assertEqual(told['teacher']['step'], step)
        self.assertEqual(told['teacher']['role'], role)
        self.assertIn('tiny of width 4', told['teacher']['model'])

  def test_student_starts_from_the_teacher(self):
    state, _ = train.initial_state(self._config('agkd_bml'), self.folder)
    for role in ('teacher', 'student', 'student_swa'):
      self._equal(state.nets[role], 'student')
    state, _ = train.initial_state(self._config('ltd'), self.folder)
    with self.assertRaises(AssertionError):
      self._equal(state.nets['student'], 'student')

  def test_two_teachers(self):
    config = self._config(
      'akd2',
      teacher__role='peer',
      natural_teacher__workdir=str(self.earlier),
    )
    state, told = train.initial_state(config, self.folder)
    self._equal(state.nets['teacher'], 'peer')
    self._equal(state.nets['natural_teacher'], 'student')
    self.assertEqual(set(told), {'teacher', 'natural_teacher'})

  def test_teacher_of_another_size_than_the_student(self):
    config = self._config(model__width=2, model__teacher_width=4)
    state, _ = train.initial_state(config, self.folder)
    self._equal(state.nets['teacher'], 'student')
    self.assertEqual(state.nets['student'].module.width, 2)

  def test_what_does_not_fit_is_refused(self):
    for overrides, message in (
      ({'model__teacher': 'resnet18'}, 'is tiny of width 4 for 10 classes'),
      ({'model__width': 8}, "this run's teacher is tiny of width 8"),
      ({'data__name': 'cifar10'}, 'of colour images'),
      ({'model__normalization': 'half'}, 'normalization half'),
      ({'teacher__workdir': str(self.folder / 'no')}, 'no is not the work dir'),
    ):
      with self.subTest(str(overrides)):
        config = self._config()
        for name, value in overrides.items():
          section, field = name.split('__')
          config[section][field] = value
        with self.assertRaisesRegex((ValueError, FileNotFoundError), message):
          teachers.check_named(config)

  def test_run_without_the_role_or_without_checkpoint(self):
    self.train('natural', 'natural', train__epochs=1)
    config = self._config(teacher__role='peer')
    config.teacher.workdir = str(self.folder / 'natural')
    with self.assertRaisesRegex(ValueError, "has no 'peer'; it has student"):
      teachers.check_named(config)
    empty = self.folder / 'empty'
    empty.mkdir()
    stored = config_lib.to_json(helpers.config())
    results.write(empty / 'config.json', stored)
    config = self._config(teacher__workdir=str(empty))
    with self.assertRaisesRegex(FileNotFoundError, "has no 'best' checkpoint"):
      teachers.check_named(config)

  def test_config_of_a_teacher_on_demand(self):
    config = helpers.config(
      'ltd', seed=3, attack__epsilon=0.2, model__teacher_width=6
    )
    config.teacher.train_overrides = ('train.epochs=2',)
    made = teachers.teacher_config(config, 'teacher', FILE + ':method=ltd')
    validate.validate(made)
    self.assertEqual(made.method.name, 'natural')
    self.assertEqual(made.model.student, 'tiny')
    self.assertEqual(made.model.width, 6)
    self.assertEqual(made.seed, 3)
    self.assertEqual(made.attack.epsilon, 0.2)
    self.assertEqual(made.train.epochs, 2)
    # Its own images, and not this run's validation images.
    self.assertEqual(made.data.to_dict(), config.data.to_dict())
    self.assertEqual(made.eval.select_on, config.eval.select_on)
    self.assertEqual(
      teachers.train_argument(config, 'teacher', 'a.py:method=ltd'),
      'a.py:method=natural,student=tiny',
    )
    config.teacher.train_config = 'b.py:x'
    self.assertEqual(
      teachers.train_argument(config, 'teacher', 'a.py'), 'b.py:x'
    )

  def test_bad_overrides(self):
    for override, message in (
      ('train.epoch=2', 'Did you mean train.epochs'),
      ('train.epochs', 'is unknown'),
      ('train.epochs=two', 'train_overrides has'),
    ):
      config = helpers.config('ltd', teacher__train_overrides=(override,))
      with self.assertRaisesRegex(ValueError, message):
        teachers.teacher_config(config, 'teacher', FILE)


if __name__ == '__main__':
  absltest.main()
