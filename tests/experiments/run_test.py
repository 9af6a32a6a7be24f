"""Experiments: lists, the documents' commands and result files agree."""

import ast
import importlib
import json
import pathlib
import re
import shlex

import jax
import jax.numpy as jnp
from absl.testing import absltest, parameterized

from experiments import run, runs, scaling
from experiments.benchmarks import flops
from experiments.benchmarks import page as benchmarks
from peeraid_jax import config as config_lib
from peeraid_jax import models
from peeraid_jax.config import validate
from peeraid_jax.training import teachers

ROOT = pathlib.Path(__file__).parents[2]


def _config(name):
  """Returns the config of a listed run, with its overrides."""
  file, overrides = runs.RUNS[name]
  path, _, argument = file.partition(':')
  module = importlib.import_module(f'configs.{pathlib.Path(path).stem}')
  config = module.get_config(argument or None)
  config.lock()
  config.update_from_flattened_dict(overrides)
  config_lib.complete(config)
  return config


def _commands():
  """Returns every training command in the documents and config files."""
  commands = set()
  for path in ('README.md', 'experiments/README.md'):
    text = (ROOT / path).read_text()
    commands |= set(re.findall(r'python -m peeraid_jax\.main [^`\n]+', text))
  for path in sorted((ROOT / 'configs').glob('*.py')):
    text = path.read_text().replace('\\\n ', '')
    commands |= set(re.findall(r'^python -m peeraid_jax\.main .+', text, re.M))
  return sorted(commands)


class DocumentsTest(parameterized.TestCase):
  def test_there_are_commands(self):
    self.assertGreater(len(_commands()), 30)

  @parameterized.parameters(*_commands())
  def test_command_is_valid(self, command):
    """Config and overrides are valid, and teachers fit: the run would start."""
    flags = shlex.split(command)[3:]
    fields = dict(f.removeprefix('--').split('=', 1) for f in flags)
    config = config_lib.load(str(ROOT / fields.pop('config')))
    config.lock()
    for field, value in fields.items():
      if field in ('workdir', 'mode'):
        continue
      name = field.removeprefix('config.')
      if not isinstance(config_lib.flatten(config)[name], str):
        value = ast.literal_eval(value)
      config.update_from_flattened_dict({name: value})
    validate.validate(config)
    for role in teachers.roles(config):
      settings = config[role]
      if not settings.train_config.startswith(':'):
        settings.train_config = str(ROOT / settings.train_config)
      file = str(ROOT / 'configs' / f'{config.data.name}.py')
      teacher_config = teachers.teacher_config(config, role, file)
      validate.validate(teacher_config)
      teachers.check_fits(config, role, teacher_config, 'there')


class RunsTest(parameterized.TestCase):
  @parameterized.parameters(*runs.RUNS)
  def test_config_is_valid(self, name):
    validate.validate(_config(name))

  def test_results_are_of_the_listed_runs(self):
    """Result files have the listed configs, and come from committed code."""
    for path in sorted(run.RESULTS.glob('*.json')):
      with self.subTest(path.stem):
        result = json.loads(path.read_text())
        listed = config_lib.to_json(_config(path.stem))
        # Fields that were added after the result have their defaults.
        stored = config_lib.to_json(config_lib.from_json(result['config']))
        self.assertEqual(config_lib.differences(stored, listed), {})
        self.assertRegex(result['commit'], '^[0-9a-f]{40}$')
        for part in ('device', 'versions', 'seed', 'roles', 'history'):
          self.assertIn(part, result)

  def test_teachers_are_runs(self):
    self.assertEqual(
      run.needs('digits_akd2_seed1'),
      ['digits_pgd_at_seed1', 'digits_natural_seed1'],
    )
    for name in runs.RUNS:
      for needed in run.needs(name):
        self.assertIn(needed, runs.RUNS)
        teacher, student = _config(needed), _config(name)
        # With another seed, the teacher would have trained on the student's
        # validation images.
        self.assertEqual(teacher.seed, student.seed)
        self.assertEqual(teacher.data.to_dict(), student.data.to_dict())
        self.assertEqual(teacher.eval.select_on, student.eval.select_on)

  def test_command(self):
    command = run.command('digits_natural_seed2', ['--config.data.dir=/x'])
    self.assertIn('--config=configs/digits.py:method=natural', command)
    self.assertIn('--config.seed=2', command)
    self.assertEqual(command[-1], '--config.data.dir=/x')

  def test_autoattack(self):
    for name in ('digits_ltd_seed0', 'cifar10_narrow_ltd'):
      flags = run.autoattack_flags(name)
      self.assertIn("--config.eval.attacks=('autoattack',)", flags)
      config = _config(name)
      for flag in flags[1:]:
        field, value = flag.removeprefix('--config.').split('=', 1)
        config.update_from_flattened_dict({field: ast.literal_eval(value)})
      validate.validate(config)
    self.assertEqual(run.autoattack_flags('tinyimagenet_narrow_peeraid'), [])


class ScalingTest(parameterized.TestCase):
  @parameterized.parameters(
    # Published FLOPs of one 32x32 image.
    ('resnet18', 1.11e9),
    ('wideresnet34x10', 13.3e9),
  )
  def test_flops_of_a_forward_pass(self, name, expected):
    self.assertAlmostEqual(
      scaling.network(name).flops / expected, 1, delta=0.01
    )

  def test_loops_and_gradients(self):
    """A scan counts every iteration; an input gradient counts as a pass."""
    weights = jnp.ones((5, 5))
    once = lambda x: jnp.sin(x @ weights).sum()
    x = jnp.ones((3, 5))
    single = flops.count(once, x)
    self.assertEqual(single, 2 * 3 * 5 * 5)
    self.assertEqual(flops.count(jax.grad(once), x), 2 * single)
    loop = lambda x: jax.lax.scan(lambda c, _: (c @ weights, None), x, length=7)
    self.assertEqual(flops.count(loop, x), 7 * single)

  def test_a_strided_network(self):
    """Training counts as three passes; with image gradients only, as two."""
    module = models.create(
      'resnet18', num_classes=10, width=4, convolutions='stock'
    )
    x = jnp.zeros((2, 16, 16, 3))
    v = jax.eval_shape(module.init, jax.random.key(0), x)
    loss = lambda v, x: module.apply(v, x).logits.sum()
    forward = flops.count(loss, v, x)
    of_images = flops.count(jax.grad(loss, 1), v, x) / forward
    of_weights = flops.count(jax.grad(loss, 0), v, x) / forward
    self.assertAlmostEqual(of_images, 2, delta=0.01)
    # Less than 3: the first layer needs no gradient of the images.
    self.assertBetween(of_weights, 2.9, 3)

  def test_generated_pages_are_up_to_date(self):
    page = (ROOT / 'experiments/scaling.md').read_text()
    self.assertEqual(page, scaling.page())
    self.assertEqual(benchmarks.PAGE.read_text(), benchmarks.page())


if __name__ == '__main__':
  absltest.main()
