"""The data set that a config names: its facts, splits and test images."""

import contextlib
import functools
import os
from typing import NamedTuple

import ml_collections
import numpy as np

from peeraid_jax import data as data_lib
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.data import facts, folder

# All runs of a data set are evaluated on the same subset of its test images.
_SUBSET_SEED = 0


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


def class_names(
  data: ml_collections.ConfigDict, *, data_dir: str = ''
) -> tuple[str, ...]:
  """Returns the names of the classes; numbers where names are not known.

  Args:
    data: `config.data`.
    data_dir: where the data set is, if not where the run found it. Names of a
      folder's classes are read from there.

  Raises:
    ValueError: there is no data set of that name; lists the known ones.
  """
  names = facts.class_names(data.name, num_classes=data.num_classes)
  if data.name == 'folder':
    with contextlib.suppress(OSError, ValueError):
      found = folder.classes(os.path.expanduser(data_dir or data.dir))
      # Another folder may lie there by now.
      return tuple(found) if len(found) == len(names) else names
  return names


def preprocessing(data: ml_collections.ConfigDict) -> str:
  """Says in words how an image becomes the input of the run's networks.

  Args:
    data: `config.data`.
  """
  height, width, channels = facts_of(data).shape
  text = f'Images have {height}x{width} pixels, as in the data set.'
  if not facts.get(data.name).shape[0]:
    scaled = round(data.image_size / data.centre_fraction)
    text = (
      f'Images of any size are scaled (bilinear) until the shorter side has '
      f'{scaled} pixels; then the central {height}x{width} pixels are cut out.'
    )
  order = ', in the order red, green, blue' if channels == 3 else ''
  return (
    f'{text} They have {channels} channel{"s"[: channels > 1]}{order}, with '
    'values from 0 to 255, which are divided by 255.'
  )


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


def chosen(
  labels: np.ndarray, count: int, how: str
) -> tuple[np.ndarray | slice, str]:
  """Chooses examples of an evaluation.

  Args:
    labels: int [N], of all examples.
    count: number of examples; 0, or at least N: all of them.
    how: 'first', or 'stratified': the classes have the same shares as in the
      whole. The choice is the same for every run.

  Returns:
    (rows of the examples, in the original order; what they are: 'all', 'first'
    or 'stratified').
  """
  if not 0 < count < len(labels):
    return slice(0, len(labels)), 'all'
  if how == 'first':
    return slice(0, count), how
  # A data set of row numbers: the sample of it tells the rows.
  numbered = data_lib.Dataset(np.arange(len(labels)), np.asarray(labels))
  return data_lib.subset(numbered, count, seed=_SUBSET_SEED).images, how


def test_images(
  config: ml_collections.ConfigDict, count: int, *, data_dir: str = ''
) -> tuple[np.ndarray, np.ndarray, str]:
  """Loads test images of a run's data, those that an evaluation would take.

  Args:
    config: of the run; `config.eval.subset` says which images.
    count: how many; at most all.
    data_dir: where the data set is, if not where the run found it.

  Returns:
    (images float32 [N, H, W, C] in [0, 1], labels int32 [N], what they are:
    'all', 'first' or 'stratified').

  Raises:
    FileNotFoundError: the data set is missing.
  """
  try:
    test = _loader(config, data_dir)(split='test')
  except FileNotFoundError as error:
    # Exports and reports have a flag of their own.
    text = str(error).replace('--config.data.dir', '--data_dir')
    raise FileNotFoundError(text) from None
  rows, subset = chosen(test.labels, count, config.eval.subset)
  test = test.take(rows)
  images = np.asarray(test.images).astype(np.float32) / 255
  return images, np.asarray(test.labels).astype(np.int32), subset


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
