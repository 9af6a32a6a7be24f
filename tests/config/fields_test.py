"""The table of fields: complete, consistent, and what the docs show."""

import pathlib

from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax import methods
from peeraid_jax.config import fields, validate
from tests import helpers

DOCS = pathlib.Path(__file__).parents[2] / 'docs/config.md'

# What a resumed run or another evaluation may change.
FREE = {
  'data.dir',
  'data.source',
  'data.download',
  'data.threads',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
  'eval.attacks',
  'eval.autoattack',
  'eval.examples',
  'eval.subset',
  'eval.roles',
  'eval.corruptions',
  'eval.checkpoint',
  'eval.restarts',
  'eval.save_outcomes',
  'eval.batch_size',
  'distributed.mode',
  'distributed.coordinator',
  'distributed.processes',
  'distributed.process',
  'distributed.timeout_seconds',
}


class TableTest(absltest.TestCase):
  def test_each_row_has_a_name_of_its_own_and_a_meaning(self):
    names = [field.name for field in fields.FIELDS]
    self.assertLen(set(names), len(names))
    for field in fields.FIELDS:
      self.assertRegex(field.meaning, r'^[A-Z\'].*[.]$', field.name)

  def test_what_may_change_on_resume(self):
    free = {field.name for field in fields.FIELDS if field.free}
    self.assertEqual(free, FREE)
    self.assertTrue(fields.is_free('eval.attacks'))
    self.assertFalse(fields.is_free('optimizer.student.name'))

  def test_the_documentation_shows_this_table(self):
    self.assertIn(
      fields.as_markdown(),
      DOCS.read_text(),
      'python -m peeraid_jax.config docs/config.md writes it',
    )

  def test_the_text_of_help_has_every_field(self):
    text = fields.as_text()
    for field in fields.FIELDS:
      self.assertIn(f'--config.{field.name}', text)


class BaseTest(parameterized.TestCase):
  @parameterized.parameters(*methods.METHODS)
  def test_a_config_has_the_fields_of_the_table_and_no_others(self, method):
    config = config_lib.base(method=method)
    trained = config_lib.trained_roles(config)
    expected = {
      field.name
      for field in fields.expand(
        {
          'role': tuple(config.roles),
          'trained': trained,
          'partner': trained[1:],
          'teacher': config_lib.teacher_roles(config),
        }
      )
    } - {'method.kwargs'}
    names = {
      name
      for name in config_lib.flatten(config)
      if not name.startswith('method.kwargs')
    }
    self.assertEqual(names, expected)

  @parameterized.parameters(*methods.METHODS)
  def test_facts_name_fields_that_exist(self, method):
    """Else a recipe would fail when a user chooses it."""
    facts = methods.facts(method)
    recipes = [*facts.recipes_by_student.values()]
    recipes += [facts.recipe] if facts.recipe else []
    config = config_lib.base(method=method)
    known = set(config_lib.flatten(config))
    for named in (
      facts.defaults,
      *(recipe.fields for recipe in recipes),
      *facts.fields_by_data.values(),
    ):
      self.assertLessEqual(set(named), known)
    self.assertLessEqual(
      {*facts.by_awp, *facts.epoch_hyperparameters}, set(config.method.kwargs)
    )

  def test_roles_are_ordered_as_they_are_built(self):
    config = config_lib.base(method='akd2')
    self.assertEqual(
      list(config_lib.networks(config)),
      ['student', 'teacher', 'natural_teacher'],
    )
    self.assertEqual(
      config_lib.trained_roles(config_lib.base()), ('student', 'peer')
    )


class RolesTest(absltest.TestCase):
  def test_a_role_overrides_what_holds_for_all(self):
    config = helpers.config('peeraid', roles__peer__width=7)
    config.model.normalization = 'half'
    config.roles.peer.normalization = 'none'
    self.assertEqual(
      config_lib.network(config, 'peer'),
      config_lib.Network('tiny', 7, 'none', 1.0),
    )
    self.assertEqual(
      config_lib.network(config, 'student'),
      config_lib.Network('tiny', 4, 'half', 1.0),
    )

  def test_evaluation_steps(self):
    config = helpers.config(attack__step_size=0.05)
    self.assertEqual(config_lib.eval_step_size(config), 0.05)
    config.eval.step_size = 0.01
    self.assertEqual(config_lib.eval_step_size(config), 0.01)


class RenamedTest(absltest.TestCase):
  def test_configs_of_earlier_versions(self):
    config = helpers.config('ltd')
    config.roles.teacher.width = 6
    config.roles.student.temperature = 2.0
    old = config_lib.to_json(config)
    del old['roles']
    old['model'] |= {
      'student_temperature': 2.0,
      'teacher_width': 6,
      'teacher_normalization': '',
    }
    self.assertEqual(config_lib.from_json(old), config)

  def test_hyperparameters_that_are_new_act_as_before(self):
    for method, name, value in (
      ('trades', 'pass_order', 'clean_first'),
      ('adaiad', 'self_temperature', 30.0),
    ):
      old = config_lib.to_json(helpers.config(method))
      del old['method']['kwargs'][name]
      self.assertEqual(config_lib.from_json(old).method.kwargs[name], value)

  def test_a_step_that_does_not_cross_the_ball(self):
    config = helpers.config('trades', eval__step_size=0.003)
    config.attack.epsilon = 0.5
    with self.assertRaisesRegex(ValueError, 'eval.step_size=0.003 is too sh'):
      validate.validate(config)

  def test_old_names_on_the_command_line(self):
    text = config_lib.suggest('model.teacher_width', helpers.config('ltd'))
    self.assertIn('It is config.roles.teacher.width now', text)
    self.assertIn('model.teacher_width', fields.RENAMED)


class CompleteTest(absltest.TestCase):
  def test_the_order_of_passes_follows_awp(self):
    for enabled, order in (
      (False, 'clean_first'),
      (True, 'adversarial_first'),
    ):
      config = helpers.config('trades', awp__enabled=enabled)
      config_lib.complete(config)
      self.assertEqual(config.method.kwargs.pass_order, order)
    config.method.kwargs.pass_order = 'clean_first'
    config_lib.complete(config)
    self.assertEqual(config.method.kwargs.pass_order, 'clean_first')


if __name__ == '__main__':
  absltest.main()
