"""A run's `Plan`: what its config resolves to, built once and handed down."""

import functools
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import optax

from peeraid_jax import attacks, methods, models, nets
from peeraid_jax import config as config_lib
from peeraid_jax.config import dataset
from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel
from peeraid_jax.training import awp, gradients, optimizers
from peeraid_jax.training import schedules as schedules_lib
from peeraid_jax.training import step as step_lib

# Pixels that are attacked at a time on a CPU, so that their activations fit
# into its cache.
_CPU_CRAFT_PIXELS = 32 * 32 * 32


class Plan(NamedTuple):
  """What a config resolves to.

  Attributes:
    config: validated.
    method: with the config's attack and hyperparameters.
    networks: role -> architecture, width, normalization and temperature.
    image_shape: [H, W, C].
    num_classes: logits of every network.
    steps_per_epoch: number of batches; the last one of an epoch is filled up
      with examples from the epoch's start.
    schedules: trained role -> step -> learning rate.
    optimizers: trained role -> optimizer.
  """

  config: ml_collections.ConfigDict
  method: methods.Method
  networks: dict[str, config_lib.Network]
  image_shape: tuple[int, int, int]
  num_classes: int
  steps_per_epoch: int
  schedules: dict[str, optax.Schedule]
  optimizers: dict[str, optax.GradientTransformation]

  @property
  def total_steps(self) -> int:
    """Steps of the whole run."""
    return self.steps_per_epoch * self.config.train.epochs

  @property
  def augmentation(self) -> dict[str, Any]:
    """The settings of `batches.augment`."""
    data = self.config.data
    return {
      'padding': data.padding,
      'flip': data.flip,
      'rotation': data.rotation,
    }


def plan(config: ml_collections.ConfigDict, *, examples: int = 1) -> Plan:
  """Resolves a config.

  Args:
    config: validated.
    examples: number of training images. Networks and optimizer states do not
      depend on it, so any number will do to restore a checkpoint.

  Raises:
    ValueError: unknown optimizer or schedule, or a setting that it does not
      have; or too many steps.
  """
  facts = dataset.facts_of(config.data)
  method = _method(config)
  steps_per_epoch = -(-examples // config.train.batch_size)
  total_steps = steps_per_epoch * config.train.epochs
  if total_steps >= 2**31:
    raise ValueError(
      f'config.train.epochs={config.train.epochs}: {total_steps} steps are '
      'more than the 32 bits of their counter hold'
    )
  schedules = {
    role: schedules_lib.create(
      config.optimizer[role],
      role=role,
      epochs=config.train.epochs,
      steps_per_epoch=steps_per_epoch,
    )
    for role in method.trained
  }
  return Plan(
    config=config,
    method=method,
    networks=config_lib.networks(config),
    image_shape=facts.shape,
    num_classes=facts.num_classes,
    steps_per_epoch=steps_per_epoch,
    schedules=schedules,
    optimizers={
      role: optimizers.create(config.optimizer[role], rate, role=role)
      for role, rate in schedules.items()
    },
  )


def _method(config: ml_collections.ConfigDict) -> methods.Method:
  """Builds the method with the config's attack."""
  maximise = functools.partial(attacks.maximise, **config.attack.to_dict())
  return methods.create(
    config.method.name, maximise, **config.method.kwargs.to_dict()
  )


def initial_state(plan: Plan) -> step_lib.State:
  """Builds the state before the first step: every role from its own key."""
  config = plan.config
  networks = {}
  for index, (role, network) in enumerate(plan.networks.items()):
    if role not in (*plan.method.trained, *plan.method.fixed):
      continue
    module = models.create(
      network.architecture,
      num_classes=plan.num_classes,
      width=network.width,
      dtype=config.dtype,
      axis_name=parallel.AXIS,
      normalization=network.normalization,
      remat=config.model.remat,
    )
    networks[role] = nets.create(
      module,
      jax.random.fold_in(jax.random.key(config.seed), index),
      plan.image_shape,
      temperature=network.temperature,
    )
  return step_lib.create_state(
    networks, plan.optimizers, swa=config.swa.enabled
  )


def train_step(plan: Plan, *, platform: str = ''):
  """Builds the per-device training step, as of `step.make_train_step`.

  Args:
    plan: of the run.
    platform: that the step is compiled for; '' is JAX's default.
  """
  config = plan.config
  method = plan.method
  if (platform or jax.default_backend()) == 'cpu':
    height, width, _ = plan.image_shape
    method = craft_in_parts(
      method, max(1, _CPU_CRAFT_PIXELS // (height * width))
    )
  wrappers: list[Any] = []
  if config.train.microbatches > 1:
    wrappers.append(gradients.in_microbatches(config.train.microbatches))
  if config.awp.enabled:
    wrappers.append(
      awp.with_perturbation(
        config.awp.gamma, config.awp.start_epoch, tuple(config.awp.roles)
      )
    )
  return step_lib.make_train_step(
    method,
    plan.optimizers,
    augmentation=plan.augmentation,
    steps_per_epoch=plan.steps_per_epoch,
    wrappers=tuple(wrappers),
    microbatches=config.train.microbatches,
  )


def craft_in_parts(method: methods.Method, largest: int) -> methods.Method:
  """Returns a method that attacks some examples at a time.

  The result is the same, but activations stay in the cache of a CPU. An
  attack that couples the examples of a batch is left as it is.

  Args:
    method: any.
    largest: how many examples at most. If the batch has no divisor above half
      of it, the batch is attacked as a whole.
  """
  if not method.per_example:
    return method

  def craft(nets, batch, keys):
    size = len(batch.labels)
    each = max((n for n in range(1, largest + 1) if size % n == 0), default=0)
    if 2 * each <= largest or each == size:
      return method.craft(nets, batch, keys)

    def one(part):
      images, labels, keys = part
      return method.craft(
        nets, batch._replace(images=images, labels=labels), keys
      )

    parts = jax.tree.map(
      lambda x: x.reshape(-1, each, *x.shape[1:]),
      (batch.images, batch.labels, keys),
    )
    adv = jax.lax.map(one, parts)
    return jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), adv)

  return method._replace(craft=craft)


def resident(plan: Plan, data) -> batches.Resident | np.ndarray:
  """Returns the part of the training data that stays on the devices.

  Args:
    plan: of the run.
    data: the training `Dataset`.

  Returns:
    Images, labels and, for a method that draws by class, the rows of each
    class; a dummy scalar if images are streamed.

  Raises:
    ValueError: the method draws images by class, and a class has none.
  """
  if plan.config.data.stream:
    return np.zeros((), np.float32)
  classes = None
  if plan.method.draws_by_class:
    classes = batches.classes_of(data.labels, plan.num_classes)
  return batches.Resident(data.images, data.labels, classes)
