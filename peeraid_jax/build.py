"""Objects that a config describes: data, method, optimizers, first state."""

import functools
import os
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import optax

from peeraid_jax import attacks, awp, methods, models, nets, optim, parallel
from peeraid_jax import config as config_lib
from peeraid_jax import data as data_lib
from peeraid_jax import step as step_lib
from peeraid_jax.data import batches, facts
from peeraid_jax.data import corruptions as corruptions_lib

# Of the images that are attacked at a time on a CPU: so many that their
# activations stay in its cache.
_CPU_CRAFT_PIXELS = 32 * 32 * 32


class Splits(NamedTuple):
  """What a run trains on, selects its best checkpoint on, and reports on."""

  train: data_lib.Dataset
  selection: data_lib.Dataset
  test: data_lib.Dataset


def complete(config: ml_collections.ConfigDict) -> None:
  """Fills in what a folder of images says: the number of its classes.

  Args:
    config: it is changed.

  Raises:
    FileNotFoundError, ValueError: it is no such folder, or the config names
      another number.
  """
  if config.data.name != 'folder':
    return
  from peeraid_jax.data import folder

  count = len(folder.classes(os.path.expanduser(config.data.dir)))
  if config.data.num_classes not in (0, count):
    raise ValueError(
      f'config.data.num_classes={config.data.num_classes} should be {count}, '
      f'the number of sub-folders of {config.data.dir}, or 0'
    )
  config.data.num_classes = count


def _loader(config: ml_collections.ConfigDict, data_dir: str = ''):
  return functools.partial(
    data_lib.load,
    config.data.name,
    data_dir=data_dir or config.data.dir or None,
    source=config.data.source,
    download=config.data.download,
    stream=config.data.stream,
    image_size=config.data.image_size,
    fraction=config.data.centre_fraction,
    threads=config.data.threads,
  )


def test_images(
  config: ml_collections.ConfigDict, count: int, *, data_dir: str = ''
) -> tuple[np.ndarray, np.ndarray]:
  """Loads the first test images of a run's data.

  Args:
    config: of the run.
    count: how many; at most all.
    data_dir: where the data set is, if not where the run found it.

  Returns:
    (images float32 [N, H, W, C] in [0, 1], labels int32 [N]).

  Raises:
    FileNotFoundError: the data set is missing.
  """
  try:
    test = _loader(config, data_dir)(split='test').take(slice(0, count))
  except FileNotFoundError as error:
    # Exports and reports have a flag of their own.
    text = str(error).replace('--config.data.dir', '--data_dir')
    raise FileNotFoundError(text) from None
  images = np.asarray(test.images).astype(np.float32) / 255
  return images, np.asarray(test.labels).astype(np.int32)


def splits(config: ml_collections.ConfigDict) -> Splits:
  """Loads a run's data.

  The validation set is held out of the training set first; the training
  subset is chosen from the rest, so that subsets of any size select on the
  same images.

  Raises:
    ValueError: sizes that do not fit.
    FileNotFoundError: the data set is missing.
  """
  load = _loader(config)
  train, test = load(split='train'), load(split='test')
  selection = test
  if config.eval.select_on == 'validation':
    train, selection = data_lib.hold_out(
      train, config.data.validation_examples, seed=config.seed
    )
  train = data_lib.subset(train, config.data.train_examples, seed=config.seed)
  if config.train.batch_size > len(train.labels):
    raise ValueError(
      f'config.train.batch_size={config.train.batch_size} should be at most '
      f'{len(train.labels)}, the number of training images'
    )
  if config.eval.examples > len(test.labels):
    raise ValueError(
      f'config.eval.examples={config.eval.examples} should be at most '
      f'{len(test.labels)}, the number of test images; 0 takes all'
    )
  return Splits(train, selection, test)


def corruptions(
  config: ml_collections.ConfigDict,
) -> corruptions_lib.Folder | None:
  """Opens the corrupted test set; None if the config names none.

  Raises:
    FileNotFoundError, ValueError: it is missing or of another layout.
  """
  if not config.eval.corruptions:
    return None
  known = facts.of(config.data)
  return corruptions_lib.Folder(config.eval.corruptions, known.shape)


def steps_per_epoch(examples: int, batch_size: int) -> int:
  """Returns the number of steps in an epoch; the last batch is filled up."""
  return -(-examples // batch_size)


def method(config: ml_collections.ConfigDict) -> methods.Method:
  """Builds the method with the config's attack."""
  maximise = functools.partial(
    attacks.maximise,
    epsilon=config.attack.epsilon,
    step_size=config.attack.step_size,
    steps=config.attack.steps,
    norm=config.attack.norm,
    start=config.attack.start,
    start_scale=config.attack.start_scale,
  )
  return methods.create(
    config.method.name, maximise, **config.method.kwargs.to_dict()
  )


def _craft_part(config: ml_collections.ConfigDict) -> int:
  """How many images are attacked at a time; 0: all."""
  if jax.default_backend() != 'cpu':
    return 0
  height, width, _ = facts.of(config.data).shape
  return max(1, _CPU_CRAFT_PIXELS // (height * width))


def train_step(config: ml_collections.ConfigDict, per_epoch: int):
  """Builds the per-device training step, as of `step.make_train_step`."""
  perturbed = None
  if config.awp.enabled:
    perturbed = awp.AWP(
      config.awp.gamma, config.awp.start_epoch, tuple(config.awp.roles)
    )
  return step_lib.make_train_step(
    method(config),
    optimizers(config, per_epoch),
    padding=config.data.padding,
    flip=config.data.flip,
    steps_per_epoch=per_epoch,
    awp=perturbed,
    microbatches=config.train.microbatches,
    craft_part=_craft_part(config),
  )


def resident(
  config: ml_collections.ConfigDict, data
) -> batches.Resident | np.ndarray:
  """Builds what a run keeps on its devices, of its training data.

  Returns:
    The data; of streamed images, a number that nobody looks at.

  Raises:
    ValueError: the method draws images by class, and a class has none.
  """
  if config.data.stream:
    return np.zeros((), np.float32)
  classes = None
  if method(config).draws_by_class:
    count = facts.of(config.data).num_classes
    classes = batches.classes_of(data.labels, count)
  return batches.Resident(data.images, data.labels, classes)


def schedules(
  config: ml_collections.ConfigDict, per_epoch: int
) -> dict[str, optax.Schedule]:
  """Returns role -> learning-rate schedule of the trained roles."""
  found = {}
  for role in method(config).trained:
    settings = config.optimizer[role]
    found[role] = optim.schedule(
      learning_rate=settings.learning_rate,
      warmup_epochs=settings.warmup_epochs,
      decay_epochs=tuple(settings.decay_epochs),
      decay_factor=settings.decay_factor,
      steps_per_epoch=per_epoch,
    )
  return found


def optimizers(
  config: ml_collections.ConfigDict, per_epoch: int
) -> dict[str, optax.GradientTransformation]:
  """Returns role -> optimizer of the trained roles."""
  return {
    role: optim.sgd(
      rate,
      momentum=config.optimizer[role].momentum,
      weight_decay=config.optimizer[role].weight_decay,
    )
    for role, rate in schedules(config, per_epoch).items()
  }


def state(config: ml_collections.ConfigDict) -> step_lib.State:
  """Builds the initial state: every role from its own key."""
  known = facts.of(config.data)
  built = method(config)
  found = {}
  for index, (role, name) in enumerate(config_lib.roles(config).items()):
    if role not in (*built.trained, *built.fixed):
      continue
    module = models.create(
      name,
      num_classes=known.num_classes,
      width=config_lib.width(config, role),
      dtype=config.dtype,
      axis_name=parallel.AXIS,
      normalization=config_lib.normalization(config, role),
      remat=config.model.remat,
    )
    key = jax.random.fold_in(jax.random.key(config.seed), index)
    found[role] = nets.create(
      module,
      key,
      known.shape,
      temperature=config_lib.temperature(config, role),
    )
  # The rate is no part of the optimizers' state: any epoch length will do.
  return step_lib.create_state(
    found, optimizers(config, 1), swa=config.swa.enabled
  )
