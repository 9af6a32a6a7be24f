"""The data set that a config names: its facts, splits and test images."""

import functools
from typing import NamedTuple

import ml_collections
import numpy as np

from peeraid_jax import data as data_lib
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.data import facts


def facts_of(data: ml_collections.ConfigDict) -> facts.Source:
  """Returns what is known about a run's data set.

  Args:
    data: `config.data`.

  Returns:
    The record of the data set; `shape` and `num_classes` are those that the
    run's networks see, also where images of any size are scaled to
    `data.image_size` and where classes are counted into `data.num_classes`.

  Raises:
    ValueError: there is no data set of that name; lists the known ones.
  """
  return facts.resolve(
    data.name, image_size=data.image_size, num_classes=data.num_classes
  )


def class_names(data: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the names of the classes; numbers where names are not known.

  Args:
    data: `config.data`.

  Raises:
    ValueError: there is no data set of that name; lists the known ones.
  """
  return facts.class_names(data.name, num_classes=data.num_classes)


class Splits(NamedTuple):
  """The data of a run.

  Attributes:
    train: images to train on.
    selection: images that the best checkpoint is chosen on.
    test: images of the final evaluation.
  """

  train: data_lib.Dataset
  selection: data_lib.Dataset
  test: data_lib.Dataset


def _loader(config: ml_collections.ConfigDict, data_dir: str = ''):
  """Returns split -> `Dataset` of a run."""
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


def corruptions(
  config: ml_collections.ConfigDict,
) -> corruptions_lib.Folder | None:
  """Opens the corrupted test set; None if the config names none.

  Raises:
    FileNotFoundError, ValueError: it is missing or of another layout.
  """
  if not config.eval.corruptions:
    return None
  return corruptions_lib.Folder(
    config.eval.corruptions, facts_of(config.data).shape
  )
