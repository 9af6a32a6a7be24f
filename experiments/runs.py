"""What is run: name -> (config, overrides). No logic.

`python -m experiments.run NAME [NAME ...]` runs them, resumes those that were
cut off, and files each result under `experiments/results/NAME.json`.
"""

import ast
import pathlib
import tomllib

from peeraid_jax import config


def _teachers(method: str, prefix: str, suffix: str = '') -> dict[str, str]:
  return {
    f'{role}.workdir': f'runs/{prefix}_{by}{suffix}'
    for role, by in config.TEACHERS.get(method, {}).items()
  }


METHODS = (
  'natural',
  'pgd_at',
  'trades',
  'mart',
  'ard',
  'rslad',
  'akd2',
  'iad1',
  'iad2',
  'adaad',
  'adaiad',
  'ltd',
  'agkd_bml',
  'peeraid',
)

# Every method, three seeds. AGKD-BML's network ends in a map of 2x2 pixels
# and has a teacher of its own, which its run trains.
DIGITS = {
  f'digits_{method}_seed{seed}': (
    f'configs/digits.py:method={method}',
    {
      'seed': seed,
      **(
        _teachers(method, 'digits', f'_seed{seed}')
        if method != 'agkd_bml'
        else {}
      ),
    },
  )
  for method in METHODS
  for seed in (0, 1, 2)
}

# At 0.1, the learning rate that all methods share above, these stall or
# diverge with some seeds; ARD and RSLAD through their teacher.
LOW_RATE = ('trades', 'mart', 'ard', 'rslad', 'ltd')


def _low_rate(method: str, seed: int) -> dict[str, str]:
  """Teachers: the TRADES student of this rate, the natural one of above."""
  found = _teachers(method, 'digits', f'_seed{seed}')
  return {
    field: path.replace('trades', 'trades_lr02')
    for field, path in found.items()
  }


DIGITS_LOW_RATE = {
  f'digits_{method}_lr02_seed{seed}': (
    f'configs/digits.py:method={method}',
    {
      'seed': seed,
      'optimizer.student.learning_rate': 0.02,
      **_low_rate(method, seed),
    },
  )
  for method in LOW_RATE
  for seed in (0, 1, 2)
}

# LTD over the teacher's temperature.
LTD_TEMPERATURES = {
  f'digits_ltd_t{temperature}_seed{seed}': (
    'configs/digits.py:method=ltd',
    {
      'seed': seed,
      'method.kwargs.temperature': float(temperature),
      **_teachers('ltd', 'digits', f'_seed{seed}'),
    },
  )
  for temperature in (1, 2, 10)
  for seed in (0, 1, 2)
}

# CPU-sized: 5,000 images, base width 16, one budget and optimizer for all:
# PeerAiD's, with its decays scaled from 300 epochs to 30. Selection on 500
# held-out images.
_NARROW = {
  'model.width': 16,
  'model.normalization': 'none',
  'data.train_examples': 5000,
  'data.validation_examples': 500,
  'attack.epsilon': 8 / 255,
  'attack.step_size': 2 / 255,
  'train.epochs': 30,
  'optimizer.student.learning_rate': 0.1,
  'optimizer.student.weight_decay': 2e-4,
  'optimizer.student.decay_epochs': (21, 26, 28),
  'swa.enabled': True,
  'swa.start_epoch': 21,
  'eval.select_on': 'validation',
  'eval.select_attack': 'pgd10',
  'eval.every_epochs': 3,
  'eval.examples': 1000,
}


def _narrow(method: str, **overrides) -> tuple[str, dict]:
  choices = f'method={method},student=resnet18,teacher=resnet18'
  teachers = _teachers(method, 'cifar10_narrow')
  return (
    f'configs/cifar10.py:{choices}',
    {**_NARROW, **teachers, **overrides},
  )


CIFAR10_NARROW = {
  'cifar10_narrow_natural': _narrow(
    'natural', **{'eval.select_attack': 'clean'}
  ),
  'cifar10_narrow_pgd_at': _narrow('pgd_at'),
  'cifar10_narrow_trades': _narrow('trades'),
  'cifar10_narrow_rslad': _narrow('rslad'),
  # AWP begins at the same part of the run as in TRADES-AWP.
  'cifar10_narrow_ltd': _narrow('ltd', **{'awp.start_epoch': 1}),
  'cifar10_narrow_agkd_bml': _narrow('agkd_bml'),
  'cifar10_narrow_peeraid': _narrow(
    'peeraid', **{'optimizer.peer.decay_epochs': (21, 26, 28)}
  ),
}

# The flagship command on real TinyImageNet, as small as it gets.
TINYIMAGENET_NARROW = {
  'tinyimagenet_narrow_peeraid': (
    'configs/tinyimagenet.py',
    {
      'model.width': 8,
      'data.train_examples': 4000,
      'data.validation_examples': 200,
      'train.epochs': 3,
      'train.batch_size': 40,
      'optimizer.student.learning_rate': 0.05,
      'optimizer.peer.learning_rate': 0.05,
      'optimizer.student.decay_epochs': (2,),
      'optimizer.peer.decay_epochs': (2,),
      'swa.start_epoch': 2,
      'eval.select_on': 'validation',
      'eval.examples': 1000,
    },
  ),
}


def _typed(text: str):
  """Returns the value of a flag: a number, a tuple, or the text itself."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


_TABLES = pathlib.Path(__file__).parent / 'tables.toml'

# The papers' own scale, beside which their numbers stand.
PAPERS = {
  row['run']: (
    row['config'],
    {field: _typed(v) for field, v in row.get('overrides', {}).items()},
  )
  for rows in tomllib.loads(_TABLES.read_text())['papers'].values()
  for row in rows
  if 'run' in row
}

# Whose AutoAttack is filed, and on how many of the first test images (0: all).
AUTOATTACK = {
  'digits_*': {'eval.roles': ('student',), 'eval.examples': 0},
  'cifar10_narrow_*': {
    'eval.roles': ('student', 'student_swa'),
    'eval.examples': 200,
  },
  'paper_*': {'eval.roles': ('student', 'student_swa'), 'eval.examples': 0},
}

RUNS = {
  **DIGITS,
  **DIGITS_LOW_RATE,
  **LTD_TEMPERATURES,
  **CIFAR10_NARROW,
  **TINYIMAGENET_NARROW,
  **PAPERS,
}
"""Every run of this project."""
