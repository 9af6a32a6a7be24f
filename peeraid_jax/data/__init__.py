"""Real images: each source becomes one `Dataset` in memory."""

import os

from peeraid_jax.data import facts
from peeraid_jax.data.batches import Batch, Resident, Rows
from peeraid_jax.data.splits import Dataset, hold_out, subset

__all__ = [
  'Batch',
  'Dataset',
  'Resident',
  'Rows',
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
) -> Dataset:
  """Loads a split of a data set, in its original order.

  Args:
    name: 'digits', 'cifar10', 'cifar100', 'svhn' or 'tinyimagenet'.
    split: 'train' or 'test'; TinyImageNet's 'test' is its official
      validation set.
    data_dir: folder of prepared TFDS data sets and of archives to prepare;
      by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    source: path of the archive to prepare from, if it lies elsewhere.
    download: fetch a missing archive from its public address.

  Returns:
    The `Dataset`: images uint8 [N, H, W, C], labels int32 [N].

  Raises:
    ValueError: unknown name or split, or a broken archive.
    FileNotFoundError: the data set is missing; the message says what to
      download and where to put it.
  """
  known = facts.get(name)
  if split not in ('train', 'test'):
    raise ValueError(f'{split=} should be train or test')
  if known.tfds is None:
    from peeraid_jax.data import digits

    return Dataset(*digits.read(split))
  from peeraid_jax.data import prepared

  folder = os.path.expanduser(data_dir or prepared.default_dir())
  prepared.prepare(name, folder, source=source, download=download)
  return Dataset(*prepared.read(name, split, folder))
