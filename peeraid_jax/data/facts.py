"""What is true of each data set, in one frozen table."""

from typing import NamedTuple

import ml_collections


class Facts(NamedTuple):
  """Constants of a data set.

  Attributes:
    shape: [H, W, C] of an image; H and W are 0 where images have any size,
      and the config says to which they are cut.
    num_classes: number of labels; 0: counted.
    train, test: number of examples of the complete data set; 0: counted.
    tfds: its name among prepared TFDS data sets; None if it is none.
    archives: files (or one folder) of which it can be prepared.
    url: public address of the folder that holds the archives.
    size: how much there is to download.
    test_split: name of the split that is the test set here.
    by_hand: it cannot be downloaded without an account.
  """

  shape: tuple[int, int, int]
  num_classes: int
  train: int
  test: int
  tfds: str | None = None
  archives: tuple[str, ...] = ()
  url: str = ''
  size: str = ''
  test_split: str = 'test'
  by_hand: bool = False


DATASETS = {
  'digits': Facts((8, 8, 1), 10, 1437, 360),
  'cifar10': Facts(
    (32, 32, 3),
    10,
    50_000,
    10_000,
    'cifar10',
    ('cifar-10-binary.tar.gz',),
    'https://www.cs.toronto.edu/~kriz/',
    '162 MiB',
  ),
  'cifar100': Facts(
    (32, 32, 3),
    100,
    50_000,
    10_000,
    'cifar100',
    ('cifar-100-binary.tar.gz',),
    'https://www.cs.toronto.edu/~kriz/',
    '161 MiB',
  ),
  'svhn': Facts(
    (32, 32, 3),
    10,
    73_257,
    26_032,
    'svhn_cropped',
    ('train_32x32.mat', 'test_32x32.mat'),
    'http://ufldl.stanford.edu/housenumbers/',
    '235 MiB',
  ),
  # 'test' is the official validation set: the test labels are not public.
  'tinyimagenet': Facts(
    (64, 64, 3),
    200,
    100_000,
    10_000,
    'tiny_imagenet',
    ('tiny-imagenet-200.zip',),
    'http://cs231n.stanford.edu/',
    '237 MiB',
  ),
  # Likewise.
  'imagenet': Facts(
    (0, 0, 3),
    1000,
    1_281_167,
    50_000,
    'imagenet2012',
    ('ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar'),
    'https://image-net.org/download-images: ',
    '144 GiB',
    test_split='validation',
    by_hand=True,
  ),
  # One's own images, in a sub-folder per class.
  'folder': Facts((0, 0, 3), 0, 0, 0),
}


def get(name: str) -> Facts:
  """Returns the facts of a data set.

  Raises:
    ValueError: no data set of that name; the known ones are listed.
  """
  if name not in DATASETS:
    raise ValueError(
      f'data.name={name!r} is unknown; known: {", ".join(DATASETS)}'
    )
  return DATASETS[name]


def of(data: ml_collections.ConfigDict) -> Facts:
  """Returns the facts of a run's data: images cut to size, classes counted.

  Args:
    data: `config.data`.

  Raises:
    ValueError: as of `get`.
  """
  known = get(data.name)
  if not known.shape[0]:
    known = known._replace(
      shape=(data.image_size, data.image_size, known.shape[2])
    )
  return known._replace(num_classes=known.num_classes or data.num_classes)


_DIGITS = tuple('0123456789')
_CLASSES = {
  'digits': _DIGITS,
  'svhn': _DIGITS,
  'cifar10': (
    'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse',
    'ship', 'truck',
  ),
}  # fmt: skip


def class_names(data: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the names of the classes, numbers where they are not known here.

  Args:
    data: `config.data`.
  """
  return _CLASSES.get(data.name, tuple(map(str, range(of(data).num_classes))))
