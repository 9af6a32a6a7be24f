"""Real images: each source becomes one `Dataset`, in memory or on disk."""

import os

import numpy as np

from peeraid_jax.data import facts
from peeraid_jax.data.batches import Batch, Resident, Rows, Streamed
from peeraid_jax.data.splits import Dataset, hold_out, subset
from peeraid_jax.data.stored import Stored

__all__ = [
  'Batch',
  'Dataset',
  'Resident',
  'Rows',
  'Stored',
  'Streamed',
  'hold_out',
  'load',
  'subset',
]


def load(
  name: str,
  *,
  split: str,
  data_dir: str | None = None,
  source: str = '',
  download: bool = False,
  stream: bool = False,
  image_size: int = 0,
  fraction: float = 0.875,
  threads: int = 0,
) -> Dataset:
  """Loads a split of a data set, in its original order.

  Args:
    name: 'digits', 'cifar10', 'cifar100', 'svhn', 'tinyimagenet',
      'imagenet' or 'folder'.
    split: 'train' or 'test'; TinyImageNet's and ImageNet's 'test' is the
      official validation set.
    data_dir: folder of prepared TFDS data sets and of archives to prepare;
      by default $TFDS_DATA_DIR, else ~/tensorflow_datasets. Of 'folder': the
      folder of images.
    source: path of the archive to prepare from, if it lies elsewhere.
    download: fetch a missing archive from its public address.
    stream: leave the images on disk, to be decoded when they are looked at.
    image_size: height and width to which images of any size are cut.
    fraction: as in `stored.centre_crop`.
    threads: that decode at the same time; 0: one per core.

  Returns:
    The `Dataset`: images uint8 [N, H, W, C], labels int32 [N].

  Raises:
    ValueError: unknown name or split, a broken archive, a folder that is
      not understood, or an image that does not decode.
    FileNotFoundError: the data set is missing; the message says what to
      download and where to put it.
  """
  known = facts.get(name)
  if split not in ('train', 'test'):
    raise ValueError(f'{split=} should be train or test')
  if name == 'digits':
    from peeraid_jax.data import digits

    return Dataset(*digits.read(split))
  if name == 'folder':
    from peeraid_jax.data import folder

    found = folder.find(split, os.path.expanduser(data_dir or ''))
  else:
    from peeraid_jax.data import prepared

    where = os.path.expanduser(data_dir or prepared.default_dir())
    prepared.prepare(name, where, source=source, download=download)
    if known.shape[0] and not stream:
      return Dataset(*prepared.read(name, split, where))
    found = prepared.open_split(name, split, where)
  files, rows, labels = found
  size = known.shape[0] or image_size
  if size < 1:
    raise ValueError(f'{image_size=} should be at least 1: {name} has any')
  images = Stored(files, rows, size, fraction=fraction, threads=threads)
  return Dataset(images if stream else np.asarray(images), labels)
