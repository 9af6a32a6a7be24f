"""What is true of each data set, in one frozen table."""

from typing import NamedTuple


class Facts(NamedTuple):
  """Constants of a data set.

  Attributes:
    shape: [H, W, C] of an image.
    num_classes: number of labels.
    train, test: number of examples of the complete data set.
    tfds: its name among prepared TFDS data sets; None if it ships in a wheel.
    archives: files (or one folder) of which it can be prepared.
    url: public address of the folder that holds the archives.
    size: how much there is to download.
  """

  shape: tuple[int, int, int]
  num_classes: int
  train: int
  test: int
  tfds: str | None = None
  archives: tuple[str, ...] = ()
  url: str = ''
  size: str = ''


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
