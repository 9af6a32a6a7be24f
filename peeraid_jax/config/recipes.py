"""Choices of config files, and the authors' recipes applied to a config.

A recipe is a fact of its method (`methods.Facts`): budget, optimizer and
networks, beyond the method's own hyperparameters.
"""

from collections.abc import Container, Mapping
from typing import Any

import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax import methods, models

# Budget of methods without a recipe: that of PeerAiD's repository.
_DEFAULT = methods.Recipe(300, (214, 259, 284))
# Length of the runs that `Facts.epoch_hyperparameters` and AWP's first epoch
# are given for.
_REFERENCE_EPOCHS = 200


def _recipe(config: ml_collections.ConfigDict) -> methods.Recipe:
  """Returns the recipe of a config's method and student."""
  facts = methods.facts(config.method.name)
  for prefix, recipe in facts.recipes_by_student.items():
    if config.model.student.startswith(prefix):
      return recipe
  return facts.recipe or _DEFAULT


def apply(config: ml_collections.ConfigDict) -> None:
  """Sets budget, optimizer and networks to those of the method's authors.

  Most authors choose the best checkpoint on the test set, and so does this.
  A method without a recipe gets PeerAiD's budget.

  Args:
    config: of `config.base`, with its data set; it is changed.
  """
  recipe = _recipe(config)
  config.eval.select_on = 'test'
  config_lib.set_decays(
    config, epochs=recipe.epochs, decays=recipe.decay_epochs
  )
  config.update_from_flattened_dict(recipe.fields)
  apply_data(config, config.data.name)


def apply_data(config: ml_collections.ConfigDict, data_set: str) -> None:
  """Sets what the method's authors use on one data set.

  Args:
    config: it is changed.
    data_set: a name in `data.SOURCES`, not necessarily the config's own.
  """
  fields = methods.facts(config.method.name).fields_by_data.get(data_set, {})
  config.update_from_flattened_dict(fields)


def scale_starts(config: ml_collections.ConfigDict) -> None:
  """Scales start epochs to this run's length.

  The hyperparameters that count epochs, and AWP's first epoch, are given for
  runs of 200 epochs.

  Args:
    config: with its number of epochs; it is changed.
  """
  epochs = config.train.epochs
  kwargs = config.method.kwargs
  for name in methods.facts(config.method.name).epoch_hyperparameters:
    kwargs[name] = kwargs[name] * epochs // _REFERENCE_EPOCHS
  config.awp.start_epoch = config.awp.start_epoch * epochs // _REFERENCE_EPOCHS


def parse_choices(
  argument: str | None, **choices: tuple[str | None, Container[str]]
) -> dict[str, str | None]:
  """Parses a config file's argument, as in `file.py:method=natural`.

  Args:
    argument: 'name=value,name=value', or None.
    **choices: name -> (default, known values); a `Registry` describes its
      values itself.

  Returns:
    name -> value, for every choice.

  Raises:
    ValueError: an unknown name or value, and the known ones are listed; or a
      name that is there twice.
  """
  chosen = {name: default for name, (default, _) in choices.items()}
  given: dict[str, str] = {}
  for part in (argument or '').split(','):
    if not part.strip():
      continue
    name, equals, value = (s.strip() for s in part.partition('='))
    if not equals or name not in choices:
      raise ValueError(
        f'config choice {part.strip()!r} is unknown; choices: '
        + ', '.join(f'{n}=...' for n in choices)
      )
    values: Any = choices[name][1]
    if value not in values:
      described = getattr(values, 'describe', lambda v=values: ', '.join(v))()
      raise ValueError(
        f'config choice {name}={value} is unknown; known: {described}'
      )
    if name in given:
      raise ValueError(
        f'config choice {name} is given twice, as {given[name]} and as {value}'
      )
    given[name] = value
  return {**chosen, **given}


def choices(
  argument: str | None,
  *,
  students: Mapping[str, str] | None = None,
  teachers: Mapping[str, str] | None = None,
) -> dict[str, str]:
  """Parses the choices that all configs of this package offer.

  Args:
    argument: of the config file.
    students: method -> its student, else resnet18; by default as published.
    teachers: method -> its teacher, else the student's architecture; by
      default as published.

  Returns:
    dict of 'method', 'student', 'peer' and 'teacher'; the peer has the
    student's architecture unless it is chosen, the teacher too.

  Raises:
    ValueError: an unknown choice; the known ones are listed.
  """
  chosen = parse_choices(
    argument,
    method=('peeraid', methods.METHODS),
    student=(None, models.MODELS),
    peer=(None, models.MODELS),
    teacher=(None, models.MODELS),
  )
  method = chosen['method'] or 'peeraid'
  facts = methods.facts(method)
  if students is None:
    students = {method: facts.student}
  if teachers is None:
    teachers = {method: facts.teacher} if facts.teacher else {}
  student = chosen['student'] or students.get(method, 'resnet18')
  return {
    'method': method,
    'student': student,
    'peer': chosen['peer'] or student,
    'teacher': chosen['teacher'] or teachers.get(method, student),
  }
