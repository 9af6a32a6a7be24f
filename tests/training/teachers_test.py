"""Teachers: found, checked, loaded, and trained on demand."""

import pathlib

import chex
import jax
from absl.testing import absltest

from peeraid_jax import config as config_lib
from peeraid_jax import files
from peeraid_jax.config import validate
from peeraid_jax.training import build, checkpoint, loop, teachers
from tests import helpers

FILE = str(pathlib.Path(__file__).parents[2] / 'configs/digits.py')


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
    files.write_json(workdir / 'config.json', config_lib.to_json(config))
    data = helpers.digits(32)

    def select(state, tick):
      del tick
      step = int(state.step)
      return {'select/student/pgd2': step, 'select/student_swa/pgd2': 9 - step}

    plan = build.plan(config, examples=len(data.labels))
    loop.train(plan, workdir, data, select)

  def _config(self, method='ltd', **overrides):
    workdir = {'teacher__workdir': str(self.earlier)}
    return helpers.config(method, **{**workdir, **overrides})

  def _initial(self, config, workdir):
    return loop.initial_state(build.plan(config), workdir)

  def _equal(self, net, role, which='best'):
    earlier = checkpoint.restore(self.earlier, which=which).nets[role]
    chex.assert_trees_all_equal(
      jax.device_get((net.params, net.batch_stats)),
      jax.device_get((earlier.params, earlier.batch_stats)),
    )

  def test_roles_of_an_earlier_run(self):
    for role, preference, which, step in (
      ('student', 'best', 'best', 4),
      ('student', 'latest', 'latest', 4),
      ('student_swa', 'best', 'best_swa', 2),
      ('student_swa', 'latest', 'latest', 4),
      ('peer', 'best', 'best', 4),
    ):
      with self.subTest(f'{role} {preference}'):
        config = self._config(
          teacher__role=role, teacher__checkpoint=preference
        )
        state, provenance = loop.initial_state(
          build.plan(config), self.folder / 'run'
        )
        self._equal(state.nets['teacher'], role, which)
        self.assertEqual(provenance['teacher']['method'], 'peeraid')
        self.assertEqual(provenance['teacher']['step'], step)
        self.assertEqual(provenance['teacher']['role'], role)
        self.assertIn('tiny of width 4', provenance['teacher']['model'])

  def test_student_starts_from_the_teacher(self):
    state, _ = loop.initial_state(
      build.plan(self._config('agkd_bml')), self.folder
    )
    for role in ('teacher', 'student', 'student_swa'):
      self._equal(state.nets[role], 'student')
    state, _ = self._initial(self._config('ltd'), self.folder)
    with self.assertRaises(AssertionError):
      self._equal(state.nets['student'], 'student')

  def test_two_teachers(self):
    config = self._config(
      'akd2',
      teacher__role='peer',
      natural_teacher__workdir=str(self.earlier),
    )
    state, provenance = self._initial(config, self.folder)
    self._equal(state.nets['teacher'], 'peer')
    self._equal(state.nets['natural_teacher'], 'student')
    self.assertEqual(set(provenance), {'teacher', 'natural_teacher'})

  def test_teacher_of_another_size_than_the_student(self):
    config = self._config(model__width=2, roles__teacher__width=4)
    state, _ = self._initial(config, self.folder)
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
    files.write_json(empty / 'config.json', stored)
    config = self._config(teacher__workdir=str(empty))
    with self.assertRaisesRegex(FileNotFoundError, "has no 'best' checkpoint"):
      teachers.check_named(config)

  def test_config_of_a_teacher_on_demand(self):
    config = helpers.config(
      'ltd', seed=3, attack__epsilon=0.2, roles__teacher__width=6
    )
    config.teacher.train_overrides = ('train.epochs=2',)
    teacher = teachers.teacher_config(config, 'teacher', FILE + ':method=ltd')
    validate.validate(teacher)
    self.assertEqual(teacher.method.name, 'natural')
    self.assertEqual(teacher.model.student, 'tiny')
    self.assertEqual(teacher.model.width, 6)
    self.assertEqual(teacher.seed, 3)
    self.assertEqual(teacher.attack.epsilon, 0.2)
    self.assertEqual(teacher.train.epochs, 2)
    # Its own images, and not this run's validation images.
    self.assertEqual(teacher.data.to_dict(), config.data.to_dict())
    self.assertEqual(teacher.eval.select_on, config.eval.select_on)
    self.assertEqual(
      teachers.train_argument(config, 'teacher', 'a.py:method=ltd'),
      'a.py:method=natural,student=tiny',
    )
    config.teacher.train_config = 'b.py:x'
    self.assertEqual(
      teachers.train_argument(config, 'teacher', 'a.py'), 'b.py:x'
    )

  def test_a_trades_teacher_keeps_its_radius_unless_the_user_changed_it(self):
    file = str(pathlib.Path(FILE).parent / 'cifar10.py') + ':method=rslad'
    config = config_lib.load(file)
    teacher = teachers.teacher_config(config, 'teacher', file)
    self.assertEqual(teacher.attack.epsilon, 0.031)
    self.assertEqual(teacher.attack.step_size, 0.007)
    self.assertEqual(teacher.eval.step_size, 0.003)
    config.attack.epsilon = 4 / 255
    teacher = teachers.teacher_config(config, 'teacher', file)
    self.assertEqual(teacher.attack.epsilon, 4 / 255)
    # The recipe's own step would not fit another radius.
    self.assertEqual(teacher.eval.step_size, 0)

  def test_a_radius_of_a_config_file_reaches_a_trades_teacher(self):
    path = self.folder / 'mine.py'
    path.write_text(
      'import importlib.util\n'
      f'path = {str(pathlib.Path(FILE).parent / "cifar10.py")!r}\n'
      "spec = importlib.util.spec_from_file_location('cifar10', path)\n"
      'module = importlib.util.module_from_spec(spec)\n'
      'spec.loader.exec_module(module)\n'
      'def get_config(argument=None):\n'
      '  config = module.get_config(argument)\n'
      '  config.attack.epsilon = 4 / 255\n'
      '  return config\n'
    )
    # The teacher's own file has the recipe's radius.
    shipped = str(pathlib.Path(FILE).parent / 'cifar10.py')
    config = config_lib.load(f'{path}:method=rslad')
    config.teacher.train_config = f'{shipped}:method=trades'
    teacher = teachers.teacher_config(config, 'teacher', str(path))
    self.assertEqual(teacher.attack.epsilon, 4 / 255)
    self.assertEqual(teacher.eval.step_size, 0)

  def test_agkd_bmls_teacher_is_that_of_its_authors(self):
    file = str(pathlib.Path(FILE).parent / 'cifar10.py') + ':method=agkd_bml'
    config = config_lib.load(file)
    teacher = teachers.teacher_config(config, 'teacher', file)
    self.assertEqual(teacher.method.kwargs.label_smoothing, 0.5)
    self.assertEqual(teacher.train.epochs, 200)
    self.assertEqual(teacher.optimizer.student.decay_epochs, (100, 150))

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
