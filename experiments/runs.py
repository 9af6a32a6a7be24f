"""The list of all experiments: name -> (config, overrides).

`RUNS`, at the end, holds them all. `experiments.run` runs them by name and
files their results as `experiments/results/NAME.json`.
"""

import ast
import pathlib
import tomllib

from peeraid_jax import methods


def _teachers(method: str, prefix: str, suffix: str = '') -> dict[str, str]:
  """Returns overrides that make other runs of this list the teachers.

  Args:
    method: the student's method.
    prefix: text before the teachers' method in the names of their runs.
    suffix: text after it.
  """
  return {
    f'{role}.workdir': f'runs/{prefix}_{teacher_method}{suffix}'
    for role, teacher_method in methods.facts(method).teachers.items()
  }


METHODS = tuple(methods.METHODS)

# Every method with three seeds. AGKD-BML's network has another architecture,
# which ends in a feature map of 2x2 pixels; its run trains its own teacher.
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

# All methods above share the learning rate 0.1. There, these methods stall or
# diverge with some seeds (ARD and RSLAD because their TRADES teacher does), so
# they also run with 0.02.
LOW_RATE = ('trades', 'mart', 'ard', 'rslad', 'ltd')


def _low_rate(method: str, seed: int) -> dict[str, str]:
  """Returns overrides for teachers at the lower rate.

  A TRADES teacher is the one at this rate; natural teachers did not stall, so
  they are those of `DIGITS`.
  """
  teachers = _teachers(method, 'digits', f'_seed{seed}')
  return {
    field: path.replace('trades', 'trades_lr02')
    for field, path in teachers.items()
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

# LTD at other temperatures of the teacher; the default is 5.
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

# Small enough for a CPU: 5,000 images and base width 16. All methods share
# PeerAiD's optimizer, with its decay epochs scaled from 300 epochs to 30. The
# best checkpoint is chosen on 500 held-out images.
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
  'eval.subset': 'first',
  # One evaluation for all: the attack's step size, not a recipe's own.
  'eval.step_size': 0.0,
}


def _narrow(method: str, **overrides) -> tuple[str, dict]:
  """Returns config and overrides of a narrow CIFAR-10 run."""
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
  # Starts AWP after the same fraction of the run as TRADES-AWP does.
  'cifar10_narrow_ltd': _narrow('ltd', **{'awp.start_epoch': 1}),
  # The teacher's budget is that of the student, not the recipe's 200 epochs.
  'cifar10_narrow_agkd_bml': _narrow(
    'agkd_bml',
    **{
      'teacher.checkpoint': 'best',
      'teacher.train_overrides': ('method.kwargs.label_smoothing=0.5',),
    },
  ),
  'cifar10_narrow_peeraid': _narrow(
    'peeraid', **{'optimizer.peer.decay_epochs': (21, 26, 28)}
  ),
}

# The main command on real TinyImageNet, as small as possible: it shows that
# the whole path works.
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
      'eval.subset': 'first',
    },
  ),
}


def _typed(text: str):
  """Parses a flag's value: a number, a tuple or a bool; otherwise a string."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


_TABLES = pathlib.Path(__file__).parent / 'tables.toml'

# Runs at the papers' own scale; the tables compare them with the papers.
PAPERS = {
  row['run']: (
    row['config'],
    {field: _typed(v) for field, v in row.get('overrides', {}).items()},
  )
  for rows in tomllib.loads(_TABLES.read_text())['papers'].values()
  for row in rows
  if 'run' in row
}

# Pattern of names -> overrides for --autoattack: which networks, and on how
# many of the first test images (0: all).
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
