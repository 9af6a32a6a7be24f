"""The contract of a method: two pure functions over named networks, and facts.

A method's file holds a factory, which returns a `Method`, and `FACTS`: what
configs and teachers need to know about it.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from peeraid_jax import losses
from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches

Nets = Mapping[str, nets_lib.Net]
Metrics = Mapping[str, chex.Array]
# `attacks.maximise` with the config's settings: (objective, images, keys)
Maximise = Callable[..., Any]


class Method(NamedTuple):
  """An algorithm, built by a factory that closes over its hyperparameters.

  Attributes:
    trained: roles that get gradients and an optimizer.
    fixed: roles that do not.
    craft: (nets, batch, keys) -> adversarial images, or a dict that holds
      them as 'images'. This is the inner maximisation. `keys` has one key per
      example, [B]. No gradient flows through the result.
    loss: (nets, batch, adv) -> (scalar, (nets, metrics)): the joint scalar
      whose gradient trains all roles, the nets with updated running
      statistics, and scalars to log.
    draws_by_class: whether `craft` draws training images with `batch.pool`.
    per_example: whether the attack on one example is independent of the other
      examples, and every array that `craft` returns has a batch axis. False
      for attacks in train mode, whose batch statistics couple the examples.
    needs_features: whether `loss` reads feature maps of student and teacher,
      which must have more than one pixel and the same size.
  """

  trained: tuple[str, ...]
  fixed: tuple[str, ...]
  craft: Callable[[Nets, batches.Batch, chex.PRNGKey], Any]
  loss: Callable[
    [Nets, batches.Batch, Any], tuple[chex.Array, tuple[Nets, Metrics]]
  ]
  draws_by_class: bool = False
  per_example: bool = True
  needs_features: bool = False


class Recipe(NamedTuple):
  """The training run of a method's authors on CIFAR-10.

  Where a field is not given, it is the default of `config`: radius 8/255,
  step 2/255, learning rate 0.1, weight decay 2e-4, batches of 128.

  Attributes:
    epochs: length of the run.
    decay_epochs: epochs, counted from 0, that begin with a lower rate.
    fields: config field -> value, where it is not the default.
  """

  epochs: int
  decay_epochs: tuple[int, ...]
  fields: Mapping[str, Any] = {}


class Facts(NamedTuple):
  """What configs and teachers need to know about a method.

  Attributes:
    partners: roles that train beside the student ('peer').
    teachers: role of a fixed network -> method that trains it if the config
      names none.
    student: published architecture of the student.
    teacher: published architecture of the teachers; '' is the student's.
    defaults: config field -> default for this method, in every config.
    recipe: the authors' run on CIFAR-10; None if there is none.
    recipes_by_student: prefix of a student's architecture -> another recipe
      for it.
    fields_by_data: data set -> config field -> value that the authors use
      there.
    epoch_hyperparameters: hyperparameters that are epochs of a run of 200
      epochs; configs of another length scale them (`recipes.scale_starts`).
    by_awp: hyperparameter -> the values that its default 'auto' stands for:
      (without AWP, with AWP).
  """

  partners: tuple[str, ...] = ()
  teachers: Mapping[str, str] = {}
  student: str = 'resnet18'
  teacher: str = ''
  defaults: Mapping[str, Any] = {}
  recipe: Recipe | None = None
  recipes_by_student: Mapping[str, Recipe] = {}
  fields_by_data: Mapping[str, Mapping[str, Any]] = {}
  epoch_hyperparameters: tuple[str, ...] = ()
  by_awp: Mapping[str, tuple[str, str]] = {}


class Entry(NamedTuple):
  """A registered method.

  Attributes:
    factory: (maximise, **hyperparameters) -> `Method`; the hyperparameters
      are keyword-only and have defaults.
    facts: the method's `Facts`.
  """

  factory: Callable[..., Method]
  facts: Facts


# Recipe fields shared by several methods: no averaging of the student.
NO_AVERAGE = {'swa.enabled': False}
# Config defaults shared by several methods: random start in the whole ball.
UNIFORM_START = {'attack.start': 'uniform'}

# Reductions of KL over classes, by PyTorch's names: 'mean' divides by the
# number of classes, as some authors' code does and no paper's equation.
REDUCTIONS = {'batchmean': losses.kl, 'mean': losses.kl_mean}


def ascend_cross_entropy(
  maximise: Maximise, *, train_mode: bool = False
) -> Callable[..., dict[str, Any]]:
  """Returns a `craft` that maximises the student's cross-entropy.

  Args:
    maximise: the inner maximisation.
    train_mode: attack with the statistics of the batch, so that each attack
      step updates the running statistics, as some authors' code does.

  Returns:
    craft, which returns {'images': adversarial images}; in train mode also
    'batch_stats', the student's after the attack: see `after_attack`.
  """

  def craft(nets, batch, keys):
    student = nets['student']
    cross_entropy = lambda logits: losses.cross_entropy(logits, batch.labels)

    def in_eval_mode(images):
      return cross_entropy(student.eval(images).logits)

    def in_train_mode(images, batch_stats):
      output, updated = student.replace(batch_stats=batch_stats).train(images)
      return cross_entropy(output.logits), updated.batch_stats

    if not train_mode:
      return {'images': maximise(in_eval_mode, batch.images, keys)}
    images, batch_stats = maximise(
      in_train_mode, batch.images, keys, carry=student.batch_stats
    )
    return {'images': images, 'batch_stats': batch_stats}

  return craft


def after_attack(student: nets_lib.Net, adv: Mapping[str, Any]) -> nets_lib.Net:
  """Returns the student with the running statistics that the attack left.

  Args:
    student: as the attack got it.
    adv: what the `craft` of `ascend_cross_entropy` returned.
  """
  return student.replace(
    batch_stats=adv.get('batch_stats', student.batch_stats)
  )


def ascend_divergence(
  maximise: Maximise, role: str
) -> Callable[..., dict[str, chex.Array]]:
  """Returns a `craft` that maximises KL(r(x) || s(x*)), all in eval mode.

  Args:
    maximise: the inner maximisation.
    role: r, the network whose clean prediction is the target; it is computed
      once per batch.

  Returns:
    craft, which returns {'images': adversarial images, 'clean_logits': r's
    logits on the clean images, [B, C]}.
  """

  def craft(nets, batch, keys):
    target = nets[role].eval(batch.images).logits

    def objective(images):
      return losses.kl(target, nets['student'].eval(images).logits)

    images = maximise(objective, batch.images, keys)
    return {'images': images, 'clean_logits': target}

  return craft


def joint(
  terms: Mapping[str, chex.Array],
  nets: Nets,
  labels: chex.Array,
  predictions: Mapping[str, chex.Array],
) -> tuple[chex.Array, tuple[Nets, dict[str, chex.Array]]]:
  """Returns what `Method.loss` returns: the sum of its terms, nets, metrics.

  Args:
    terms: 'role/loss_name' -> term of the loss, with its weight.
    nets: role -> network, with updated running statistics.
    labels: int [B].
    predictions: 'role/images' -> logits [B, C], whose accuracy is logged as
      'role/images_accuracy'.
  """
  accuracies = {
    f'{name}_accuracy': accuracy(logits, labels)
    for name, logits in predictions.items()
  }
  total = functools.reduce(operator.add, terms.values())
  return total, (nets, {**terms, **accuracies})


def check_weights(**weights: float) -> None:
  """Checks hyperparameters that multiply a term of a loss.

  Raises:
    ValueError: one is negative, infinite or not a number.
  """
  for name, value in weights.items():
    if not 0 <= value < math.inf:
      raise ValueError(
        f'method.kwargs.{name}={value} should be at least 0, and finite'
      )


def check_shares(**shares: float) -> None:
  """Checks hyperparameters that divide 1 between two terms.

  Raises:
    ValueError: one is not in [0, 1].
  """
  for name, value in shares.items():
    if not 0 <= value <= 1:
      raise ValueError(f'method.kwargs.{name}={value} should be in [0, 1]')


def check_temperatures(**temperatures: float) -> None:
  """Checks hyperparameters that divide logits.

  Raises:
    ValueError: one is not positive, infinite or not a number.
  """
  for name, value in temperatures.items():
    if not 0 < value < math.inf:
      raise ValueError(
        f'method.kwargs.{name}={value} should be above 0, and finite'
      )


def check_choice(name: str, value: str, choices) -> None:
  """Checks a hyperparameter that is one of a few words.

  Raises:
    ValueError: it is none of them; the known ones are listed.
  """
  if value not in choices:
    raise ValueError(
      f'method.kwargs.{name}={value!r} is unknown; known: {", ".join(choices)}'
    )


def accuracy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the share of correct predictions in a batch, a scalar.

  Args:
    logits: [B, C].
    labels: int [B].
  """
  return jnp.mean(jnp.argmax(logits, axis=-1) == labels)
