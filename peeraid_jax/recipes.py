"""What the authors of each method ran on CIFAR-10, and choices of configs.

Budgets, optimizers, networks: everything that is not in a method's own
hyperparameters. Epochs are counted from 0.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import methods, models

# Networks, where the authors' is not a ResNet-18.
STUDENTS = {
  'ltd': 'wideresnet34x10',
  'agkd_bml': 'wideresnet28x10',
  'akd2': 'preactresnet18_rice',
}
# Teachers that are not like the student.
TEACHERS = dict.fromkeys(('ard', 'rslad', 'adaad', 'adaiad'), 'wideresnet34x10')

_NO_AVERAGE = {'swa.enabled': False}

# Method -> (epochs, epochs of decay, other fields). Radius 8/255, step 2/255,
# learning rate 0.1, weight decay 2e-4, batches of 128 where nothing is said.
_RECIPES = {
  # PeerAiD's repository, of which the first two are baselines.
  'natural': (300, (214, 259, 284), {}),
  'pgd_at': (300, (214, 259, 284), {}),
  'peeraid': (300, (214, 259, 284), {}),
  # Decays at the 90th and 100th epoch stand in the code and are not reached.
  'trades': (
    76,
    (74,),
    {'attack.epsilon': 0.031, 'attack.step_size': 0.007, **_NO_AVERAGE},
  ),
  # Of ResNet-18; `_WIDE_MART` of WideResNet-34-10.
  'mart': (
    120,
    (74, 89, 99),
    {
      'attack.epsilon': 0.031,
      'attack.step_size': 0.007,
      'optimizer.student.learning_rate': 0.01,
      'optimizer.student.weight_decay': 3.5e-3,
      **_NO_AVERAGE,
    },
  ),
  'ard': (200, (100, 150), _NO_AVERAGE),
  'rslad': (300, (215, 260, 285), _NO_AVERAGE),
  'akd2': (
    200,
    (50, 150),
    {
      'optimizer.student.weight_decay': 5e-4,
      'model.normalization': 'cifar10',
      'swa.start_epoch': 55,
      'data.validation_examples': 5000,
      'eval.select_on': 'validation',
      'eval.select_attack': 'pgd20',
    },
  ),
  'iad1': (200, (100, 150), _NO_AVERAGE),
  'iad2': (200, (100, 150), _NO_AVERAGE),
  'adaad': (
    200,
    (100, 150),
    {'optimizer.student.weight_decay': 5e-4, **_NO_AVERAGE},
  ),
  'adaiad': (
    200,
    (100, 150),
    {'optimizer.student.weight_decay': 5e-4, **_NO_AVERAGE},
  ),
  # TRADES-AWP's, by inference: LTD's own are not published.
  'ltd': (
    200,
    (100, 150),
    {'optimizer.student.weight_decay': 5e-4, **_NO_AVERAGE},
  ),
  # The authors' best checkpoint is the one of the best clean accuracy.
  'agkd_bml': (
    200,
    (100, 150),
    {
      'model.normalization': 'half',
      'teacher.train_overrides': ('method.kwargs.label_smoothing=0.5',),
      'eval.select_attack': 'clean',
      **_NO_AVERAGE,
    },
  ),
}

_WIDE_MART = (
  90,
  (74, 89),
  {
    'attack.epsilon': 0.031,
    'attack.step_size': 0.007,
    'optimizer.student.weight_decay': 7e-4,
    'method.kwargs.beta': 6.0,
    **_NO_AVERAGE,
  },
)


def apply(config: ml_collections.ConfigDict) -> None:
  """Sets budget, optimizer and networks to those of the method's authors.

  Most of them choose the best checkpoint on the test set, and so does this.

  Args:
    config: of `config.base`; it is changed.
  """
  method = config.method.name
  recipe = _RECIPES[method]
  if method == 'mart' and config.model.student.startswith('wideresnet'):
    recipe = _WIDE_MART
  epochs, decays, fields = recipe
  config.eval.select_on = 'test'
  config_lib.set_decays(config, epochs=epochs, decays=decays)
  config.update_from_flattened_dict(fields)


def scale_starts(config: ml_collections.ConfigDict) -> None:
  """Lets what begins late begin at the same part of the run as in the papers.

  Args:
    config: with its number of epochs, instead of the papers' 200.
  """
  epochs = config.train.epochs
  kwargs = config.method.kwargs
  if 'begin_epoch' in kwargs:
    kwargs.begin_epoch = kwargs.begin_epoch * epochs // 200
  config.awp.start_epoch = config.awp.start_epoch * epochs // 200


def weigh_many_classes(config: ml_collections.ConfigDict) -> None:
  """Sets PeerAiD's weights to those of its TinyImageNet, of 200 classes."""
  if config.method.name == 'peeraid':
    config.method.kwargs.update(
      temperature=1.0, gamma2=100.0, lambda1=0.035, lambda2=35.0, lambda3=20.0
    )


def parse_choices(
  argument: str | None, **choices: tuple[str | None, Any]
) -> dict[str, str | None]:
  """Parses a config file's argument, as in `file.py:method=natural`.

  Args:
    argument: 'name=value,name=value', or None.
    **choices: name -> (default, known values).

  Returns:
    name -> value, for every choice.

  Raises:
    ValueError: an unknown name or value; the known ones are listed.
  """
  chosen = {name: default for name, (default, _) in choices.items()}
  for part in (argument or '').split(','):
    if not part.strip():
      continue
    name, equals, value = (s.strip() for s in part.partition('='))
    if not equals or name not in choices:
      raise ValueError(
        f'config choice {part.strip()!r} is unknown; choices: '
        + ', '.join(f'{n}=...' for n in choices)
      )
    known = choices[name][1]
    if value not in known:
      raise ValueError(
        f'config choice {name}={value} is unknown; known: {", ".join(known)}'
      )
    chosen[name] = value
  return chosen


class _Networks(tuple):
  """The names of networks; WideResNets of other sizes are among them."""

  def __contains__(self, name) -> bool:
    try:
      models.get(name)
    except ValueError:
      return False
    return True


def choices(
  argument: str | None,
  *,
  students: Mapping[str, str] = STUDENTS,
  teachers: Mapping[str, str] = TEACHERS,
) -> dict[str, str]:
  """Parses the choices that all of our configs offer.

  Args:
    argument: of the config file.
    students: method -> its student, if that is not a ResNet-18.
    teachers: method -> its teacher, if that is not like its student.

  Returns:
    dict of 'method', 'student', 'peer' and 'teacher'; the peer is like the
    student unless it is chosen, the teacher too.
  """
  names = _Networks(models.MODELS)
  chosen = parse_choices(
    argument,
    method=('peeraid', tuple(methods.METHODS)),
    student=(None, names),
    peer=(None, names),
    teacher=(None, names),
  )
  method = chosen['method']
  student = chosen['student'] or students.get(method, 'resnet18')
  teacher = chosen['teacher'] or teachers.get(method, student)
  peer = chosen['peer'] or student
  return {
    'method': method,
    'student': student,
    'peer': peer,
    'teacher': teacher,
  }
