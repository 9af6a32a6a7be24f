"""Readers of the public archives, as their authors published them.

Each reader yields `(id, image, label)`: ids sort into the original order,
images are PIL images in RGB, or encoded ones that stay as they are. Members
are read in memory and nothing is ever extracted, so no path inside an archive
can name a file outside of it.
"""

import io
import pathlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from peeraid_jax.data import facts

Example = tuple[str, Image.Image | io.BytesIO, int]

_CIFAR_BATCHES = {
  'cifar10': {
    'train': [f'data_batch_{i}.bin' for i in range(1, 6)],
    'test': ['test_batch.bin'],
  },
  'cifar100': {'train': ['train.bin'], 'test': ['test.bin']},
}


def _foreign(path, wanted: str) -> ValueError:
  return ValueError(
    f'{path} is not what was expected: {wanted}. Delete it and put the '
    'original file there.'
  )


def read_cifar(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads the binary version of CIFAR-10 or CIFAR-100.

  Args:
    name: 'cifar10' or 'cifar100'.
    paths: the one archive, `cifar-10-binary.tar.gz` or its sister.
    split: 'train' or 'test'.

  Yields:
    (id, image, label) in the original order; CIFAR-100's label is the fine
    one.

  Raises:
    ValueError: the archive is broken or another one.
  """
  labels = 2 if name == 'cifar100' else 1
  row = labels + 3 * 32 * 32
  index = 0
  try:
    with tarfile.open(paths[0]) as archive:
      members = {pathlib.PurePath(m.name).name: m for m in archive}
      for batch in _CIFAR_BATCHES[name][split]:
        if batch not in members or not members[batch].isfile():
          raise _foreign(paths[0], f'it holds no {batch}')
        raw = np.frombuffer(archive.extractfile(members[batch]).read(), 'u1')
        if raw.size == 0 or raw.size % row:
          raise _foreign(paths[0], f'{batch} should have rows of {row} bytes')
        for record in raw.reshape(-1, row):
          image = record[labels:].reshape(3, 32, 32).transpose(1, 2, 0)
          yield (
            f'{split}_{index:05d}',
            Image.fromarray(np.ascontiguousarray(image)),
            int(record[labels - 1]),
          )
          index += 1
  except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
    raise _foreign(paths[0], f'a readable .tar.gz ({error})') from error


def read_svhn(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads SVHN's cropped digits (`train_32x32.mat`, `test_32x32.mat`)."""
  import scipy.io  # 0.3 s that nobody else should pay.

  del name
  path = next(p for p in paths if p.name.startswith(split))
  try:
    data = scipy.io.loadmat(path, variable_names=('X', 'y'))
    images, labels = data['X'], data['y'].reshape(-1)
  except Exception as error:  # SciPy raises whatever it trips over.
    raise _foreign(path, f'a MATLAB file with X and y ({error})') from error
  if images.shape[:3] != (32, 32, 3) or images.shape[3] != labels.size:
    raise _foreign(path, f'X of 32x32x3xN, got {images.shape}')
  for index, label in enumerate(labels):
    image = Image.fromarray(np.ascontiguousarray(images[..., index]))
    # The file calls the digit zero 10.
    yield f'{split}_{index:06d}', image, int(label) % 10


class _Tree:
  """Files of a zip or of the folder that it unpacks to, read by name."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    if path.is_dir():
      self._zip = None
      inner = path / 'tiny-imagenet-200'
      self._root = inner if inner.is_dir() else path
      self.names = [
        p.relative_to(self._root).as_posix()
        for p in self._root.rglob('*')
        if p.is_file()
      ]
      return
    try:
      self._zip = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
      size = facts.get('tinyimagenet').size
      raise _foreign(
        path,
        f'a complete zip of {size} ({error}; a download that broke off?)',
      ) from error
    self._root = 'tiny-imagenet-200/'
    self.names = [
      n.removeprefix(self._root)
      for n in dict.fromkeys(self._zip.namelist())
      if n.startswith(self._root) and not n.endswith('/')
    ]

  def read(self, name: str) -> bytes:
    try:
      if self._zip is None:
        return (self._root / name).read_bytes()
      return self._zip.read(self._root + name)
    except KeyError:
      raise _foreign(self.path, f'it holds no {name}') from None
    except FileNotFoundError:
      raise _foreign(self.path, f'it holds no {name}') from None
    except Exception as error:  # zlib.error, BadZipFile, OSError, ...
      raise _foreign(self.path, f'{name} is damaged ({error})') from error

  def image(self, name: str) -> Image.Image:
    raw = self.read(name)
    try:
      # Some of the JPEGs are grey: replicated to three channels.
      image = Image.open(io.BytesIO(raw)).convert('RGB')
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
      raise _foreign(self.path, f'{name} does not decode ({error})') from error
    if image.size != (64, 64):
      raise _foreign(self.path, f'{name} should be 64x64, got {image.size}')
    return image


def read_tiny_imagenet(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads TinyImageNet in its original layout.

  The label of a class is its line number in wnids.txt. An archive with fewer
  images per class is read as it is.

  Args:
    name: unused.
    paths: the zip, or the folder that it unpacks to.
    split: 'train', or 'test': the official validation set.

  Yields:
    (id, image, label), training images by class and number, validation
    images by number.

  Raises:
    ValueError: the archive is broken, another one, or an image in it is.
  """
  del name
  tree = _Tree(paths[0])
  wnids = tree.read('wnids.txt').decode('ascii', 'replace').split()
  label_of = {wnid: i for i, wnid in enumerate(wnids)}
  classes = facts.get('tinyimagenet').num_classes
  if len(label_of) != classes:
    raise _foreign(paths[0], f'wnids.txt should list {classes} classes')
  if split == 'train':
    yield from _tiny_train(tree, label_of)
  else:
    yield from _tiny_validation(tree, label_of)


def _tiny_train(tree: _Tree, label_of) -> Iterator[Example]:
  pattern = re.compile(r'train/(\w+)/images/\1_(\d+)\.JPEG')
  found = []
  for member in tree.names:
    match = pattern.fullmatch(member)
    if match and match[1] in label_of:
      found.append((label_of[match[1]], int(match[2]), member))
  if not found:
    raise _foreign(tree.path, 'it holds no train/<wnid>/images/*.JPEG')
  for label, number, member in sorted(found):
    yield f'train_{label:03d}_{number:05d}', tree.image(member), label


def _tiny_validation(tree: _Tree, label_of) -> Iterator[Example]:
  table = tree.read('val/val_annotations.txt').decode('ascii', 'replace')
  known = set(tree.names)
  for line in table.splitlines():
    match = re.match(r'(val_(\d+)\.JPEG)\t(\w+)', line)
    member = f'val/images/{match[1]}' if match else ''
    if member not in known:
      continue  # A partial archive.
    wnid = match[3]
    if wnid not in label_of:
      raise _foreign(
        tree.path, f'val_annotations.txt names the unknown class {wnid!r}'
      )
    yield f'test_{int(match[2]):05d}', tree.image(member), label_of[wnid]


def _imagenet_labels(file: str) -> list[str]:
  """A list of class names that TFDS has: of all classes, or of the images."""
  import tensorflow_datasets as tfds

  path = tfds.core.tfds_path(f'datasets/imagenet2012/{file}')
  return path.read_text().split()


def read_imagenet(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads ImageNet-1k's archives; each image stays encoded as it is.

  Args:
    name: unused.
    paths: `ILSVRC2012_img_train.tar`, which holds one archive per class, and
      `ILSVRC2012_img_val.tar`, which holds 50,000 images.
    split: 'train', or 'test': the official validation set.

  Yields:
    (file name, content, label); classes are numbered by their WordNet id.

  Raises:
    ValueError: an archive is broken or another one.
  """
  del name
  word = 'train' if split == 'train' else 'val'
  found = [p for p in paths if p.name == f'ILSVRC2012_img_{word}.tar']
  if not found:
    raise ValueError(
      f'data.source={paths[0]} should be the folder that holds '
      f'ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar'
    )
  label_of = {wnid: i for i, wnid in enumerate(_imagenet_labels('labels.txt'))}
  try:
    with tarfile.open(found[0]) as archive:
      if split == 'train':
        yield from _imagenet_train(archive, label_of, found[0])
      else:
        yield from _imagenet_validation(archive, label_of, found[0])
  except (tarfile.TarError, EOFError, OSError) as error:
    raise _foreign(found[0], f'a readable .tar ({error})') from error


def _imagenet_train(archive, label_of, path) -> Iterator[Example]:
  for member in archive:
    wnid = pathlib.PurePath(member.name).stem
    if wnid not in label_of or not member.isfile():
      raise _foreign(path, f'{member.name} is the archive of no class')
    with tarfile.open(fileobj=archive.extractfile(member)) as inner:
      for image in inner:
        content = inner.extractfile(image).read()
        yield (
          pathlib.PurePath(image.name).name,
          io.BytesIO(content),
          label_of[wnid],
        )


def _imagenet_validation(archive, label_of, path) -> Iterator[Example]:
  wnids = _imagenet_labels('validation_labels.txt')
  for member in archive:
    name = pathlib.PurePath(member.name).name
    match = re.fullmatch(r'ILSVRC2012_val_(\d{8})\.JPEG', name)
    number = int(match[1]) if match else 0
    if not 1 <= number <= len(wnids) or not member.isfile():
      raise _foreign(path, f'{member.name} is no image of the validation set')
    content = archive.extractfile(member).read()
    yield name, io.BytesIO(content), label_of[wnids[number - 1]]


READERS = {
  'imagenet': read_imagenet,
  'cifar10': read_cifar,
  'cifar100': read_cifar,
  'svhn': read_svhn,
  'tinyimagenet': read_tiny_imagenet,
}
