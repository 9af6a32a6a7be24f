"""Values that make no sense: one clear line each, before anything expensive."""

import json
import math
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import config as config_lib
from peeraid_jax.config import validate
from peeraid_jax.training import build
from tests import helpers

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
INF, NAN = math.inf, math.nan

# Values that a config file may assign, and that are refused there.
AT_ONCE = (
  # field, value, what the message says
  ('train.epochs', True, 'epochs=True should be a whole number'),
  ('seed', False, 'seed=False should be a whole number'),
  ('attack.epsilon', True, 'epsilon=True should be a number'),
  ('method.kwargs.gamma1', True, 'gamma1=True should be a number'),
  ('train.epochs', 3.0, 'epochs=3.0 should be a whole number'),
  ('train.epochs', np.float32(3), 'epochs=3.0 should be a whole number'),
  ('train.epochs', '3', "epochs='3' should be a whole number"),
  ('attack.epsilon', '8/255', "epsilon='8/255' should be a number"),
  ('attack.epsilon', np.array([0.1]), r'epsilon=\[0.1\] should be a number'),
  ('data.flip', 1, 'flip=1 should be True or False'),
  ('data.flip', 'yes', "flip='yes' should be True or False"),
  ('data.dir', 3, 'dir=3 should be a text'),
  ('dtype', jnp.float32, 'dtype=.* should be a text'),
  ('eval.attacks', 'clean', "attacks='clean' should be a tuple, such as"),
  ('data.crop_area', 0.5, 'crop_area=0.5 should be a tuple, such as'),
  ('optimizer.student.decay_epochs', 5, 'decay_epochs=5 should be a tuple'),
  ('optimizer.student.options', 'b1=3', "options='b1=3' should be a tuple"),
  ('swa', 3, 'swa=3 should be a section'),
)
# Values that are refused when the config is checked.
CHECKED = (
  ('optimizer.student.learning_rate', INF, 'learning_rate=inf should be a num'),
  ('optimizer.student.learning_rate', NAN, 'learning_rate=nan should be a num'),
  ('optimizer.peer.weight_decay', INF, 'weight_decay=inf should be a number'),
  ('optimizer.peer.warmup_epochs', INF, 'warmup_epochs=inf should be a number'),
  ('roles.student.temperature', INF, 'temperature=inf should be a number abov'),
  ('attack.epsilon', NAN, 'epsilon=nan should be a number from 0 to 1'),
  ('attack.start_scale', INF, 'start_scale=inf should be a number'),
  ('awp.gamma', INF, 'gamma=inf should be a number'),
  ('data.crop_area', (NAN, 1.0), r'crop_area=\(nan, 1.0\) should be two'),
  ('method.kwargs.temperature', INF, 'temperature=inf should be .* and finite'),
  ('method.kwargs.lambda2', INF, 'lambda2=inf should be at least 0, and fin'),
  ('method.kwargs.lambda2', NAN, 'lambda2=nan should be at least 0, and fin'),
  ('model.normalization', 'nan/1', "normalization='nan/1' should be one of"),
  ('model.normalization', '0/inf', "normalization='0/inf' should be one of"),
  ('roles.peer.normalization', '-inf/1', "'-inf/1' should be one of"),
  ('seed', -1, 'seed=-1 should be a whole number from 0'),
  ('seed', 2**31, 'seed=2147483648 should be a whole number from 0'),
  ('train.epochs', None, 'epochs=None should be a whole number'),
  ('train.epochs', 10**12, 'config.train.epochs=1000000000000 should be below'),
  ('awp.start_epoch', 2**31, 'config.awp.start_epoch=2147483648 should be bel'),
  ('model.width', 10**6, 'width=1000000 should be a whole number from 1 to'),
  ('roles.peer.width', 10**6, 'width=1000000 should be a whole number from 0'),
  ('train.batch_size', 10**9, 'batch_size=1000000000 should be .* to 131072'),
  ('eval.batch_size', 10**9, 'batch_size=1000000000 should be .* to 131072'),
  ('data.padding', 10**6, 'padding=1000000 should be a whole number .* to 8'),
  (
    'data.threads',
    10**6,
    'threads=1000000 should be a whole number .* to 1024',
  ),
  ('data.name', '', "name='' should be one of 'digits'"),
  ('model.student', '', "student='' should be one of resnet18"),
  ('model.student', None, 'student=None should be one of resnet18'),
  ('method.name', '', "method '' is unknown; known: natural"),
  ('eval.select_attack', '', "select_attack='' should be one of clean"),
  ('optimizer.student.name', '', "optimizer '' is unknown; known: sgd"),
  ('optimizer.student.schedule', '', "schedule '' is unknown; known: piecewi"),
  ('eval.attacks', (1, 2), r'attacks=\(1, 2\) should be one or more of'),
  ('eval.attacks', ('',), r"attacks=\('',\) should be one or more of"),
  ('eval.roles', ([],), 'roles=.* should be one or more of'),
  ('awp.roles', (['student'],), 'awp.roles=.* should be one or more of'),
  ('optimizer.student.decay_epochs', (True,), 'should be rising whole epochs'),
  ('optimizer.student.decay_epochs', (1.5,), 'should be rising whole epochs'),
  ('optimizer.student.options', (1,), r'options=\(1,\) should be a tuple of'),
  ('train.epoch', 5, 'config.train.epoch is unknown. Did you mean train.epoc'),
  ('extra', {'x': 1}, 'config.extra.x is unknown. Known fields'),
  ('attack', {}, 'config.attack.epsilon is missing'),
)
# NumPy's and JAX's values mean what Python's mean.
EQUAL = (
  ('train.epochs', np.int64(3), 3),
  ('train.epochs', jnp.int32(3), 3),
  ('seed', np.uint8(3), 3),
  ('attack.epsilon', np.float64(0.25), 0.25),
  ('attack.epsilon', np.float32(0.25), 0.25),
  ('attack.epsilon', jnp.bfloat16(0.25), 0.25),
  ('attack.epsilon', np.array(0.25), 0.25),
  ('attack.epsilon', 1, 1.0),
  ('data.flip', np.bool_(True), True),
  ('data.name', np.str_('digits'), 'digits'),
  ('optimizer.student.decay_epochs', np.array([1, 2]), (1, 2)),
  ('optimizer.student.decay_epochs', [np.int64(1), 2], (1, 2)),
  ('data.crop_area', (np.float32(0.5), jnp.float32(1)), (0.5, 1.0)),
)
# Config files that do not work: content -> what the message says.
FILES = (
  ('', r'it should define get_config\(argument=None\)'),
  ('get_config = 3', "mine.py: 'int' object is not callable"),
  ('def get_config(', r"mine.py, line 1: SyntaxError: '\(' was never closed"),
  ('x = 1\nx.y', "line 2: AttributeError: 'int' object has no attribute 'y'"),
  ('import none_such', 'line 1: ModuleNotFoundError: No module named'),
  ('import sys\nsys.exit(3)', 'line 2: SystemExit: 3'),
  ('def get_config(): pass', 'get_config should return a config, .* None'),
  ('def get_config(): return {}', r'should return a config.* returns \{\}'),
  ('def get_config(a): pass', 'missing 1 required positional argument'),
  ('def get_config():\n  return 1 / 0', 'line 2: ZeroDivisionError: division'),
  ('def get_config():\n  raise ValueError("a\\nb")', 'line 2: a b$'),
  (
    'from peeraid_jax import config\ndef get_config():\n'
    '  made = config.base()\n  made.train.epochs = 2.5',
    'line 4: epochs=2.5 should be a whole number$',
  ),
  ('\0', 'SyntaxError: source code .* null bytes'),
  ('x = "\\ud800".encode()', 'line 1: UnicodeEncodeError'),
)


def _set(config, field: str, value) -> None:
  *path, name = field.split('.')
  section = config_lib.lookup(config, '.'.join(path)) if path else config
  setattr(section, name, value)


class ValuesTest(parameterized.TestCase):
  @parameterized.parameters(*AT_ONCE)
  @pytest.mark.fault('values')
  def test_refused_at_once(self, field, value, message):
    with self.assertRaisesRegex(TypeError, f'^{message}') as caught:
      _set(helpers.config(), field, value)
    self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(*CHECKED)
  @pytest.mark.fault('values')
  def test_refused_when_checked(self, field, value, message):
    config = helpers.config()
    _set(config, field, value)
    with self.assertRaisesRegex(ValueError, message) as caught:
      config_lib.complete(config)
      validate.validate(config)
      build.plan(config)
    self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(*EQUAL)
  @pytest.mark.fault('values')
  def test_values_of_numpy_and_jax(self, field, value, expected):
    config = helpers.config()
    _set(config, field, value)
    self.assertEqual(config_lib.lookup(config, field), expected)
    self.assertIs(type(config_lib.lookup(config, field)), type(expected))
    validate.validate(config)
    json.dumps(config_lib.to_json(config))

  @parameterized.parameters(
    'swa',
    'attack.steps',
    'method',
    'method.kwargs.gamma1',
    'model.peer',
    'roles',
    'optimizer.peer',
    'data.name',
  )
  @pytest.mark.fault('values')
  def test_a_field_that_was_deleted(self, field):
    config = helpers.config()
    section, _, name = field.rpartition('.')
    delattr(config_lib.lookup(config, section) if section else config, name)
    with self.assertRaisesRegex(ValueError, rf'config.{field}[\w.]* is miss'):
      validate.validate(config)

  @parameterized.parameters('', ':', ' ')
  @pytest.mark.fault('values')
  def test_a_teacher_without_a_config_file(self, value):
    config = helpers.config('ard', teacher__train_config=value)
    with self.assertRaisesRegex(ValueError, 'train_config=.* FILE:CHOICES'):
      validate.validate(config)

  @pytest.mark.fault('values')
  def test_images_that_fill_the_memory(self):
    config = config_lib.load(str(CONFIGS / 'folder.py'))
    config.data.image_size, config.data.num_classes = 1_000_000, 3
    with self.assertRaisesRegex(ValueError, 'image_size=1000000 .* 8 to 4096'):
      validate.validate(config)

  @pytest.mark.fault('values')
  def test_more_steps_than_32_bits(self):
    config = helpers.config(train__epochs=10**9)
    validate.validate(config)
    with self.assertRaisesRegex(ValueError, 'train.epochs=1000000000: 300000'):
      build.plan(config, examples=40)


class ConfigFilesTest(parameterized.TestCase):
  @parameterized.parameters(*FILES)
  @pytest.mark.fault('config files')
  def test_files_that_do_not_work(self, content, message):
    path = helpers.folder(self) / 'mine.py'
    path.write_text(content)
    with self.assertRaisesRegex(ValueError, message) as caught:
      config_lib.load(str(path))
    text = str(caught.exception)
    self.assertStartsWith(text, str(path))
    self.assertNotIn('\n', text)

  @parameterized.parameters(
    ('method=ard,method=natural', 'method is given twice, as ard and as nat'),
    ('student=tiny,method=ard,student=tiny', 'student is given twice, as tin'),
    ('method=', 'method= is unknown; known: natural'),
    ('=natural', "'=natural' is unknown; choices: method="),
  )
  @pytest.mark.fault('config files')
  def test_choices(self, choices, message):
    with self.assertRaisesRegex(ValueError, message):
      config_lib.load(f'{CONFIGS}/digits.py:{choices}')


if __name__ == '__main__':
  absltest.main()
