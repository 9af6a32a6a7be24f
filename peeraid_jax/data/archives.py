"""Readers of the public archives, in the form in which they are published.

Each reader is called as `reader(name, paths, split)`, with the data set's
name, the paths of its archives and 'train' or 'test'. It yields `(id, image,
label)`: ids sort into the original order; images are PIL images in RGB, or
encoded files that are kept unchanged. Archives are read in memory and never
unpacked, so no path in an archive can name a file outside of it.
"""

import io
import pathlib
import re
import tarfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

from peeraid_jax.data import archive_files

Example = tuple[str, Image.Image | io.BytesIO, int]

# Limits that keep memory bounded, whatever an archive says; all of them leave
# room: CIFAR has 60,000 images.
_CIFAR_IMAGES = 100_000
_CIFAR_OTHER = 2**20  # Bytes of other files and of headers.
_SVHN_LIMIT = 2**31  # Bytes; those of the extra images fit as well.

TINY_IMAGENET_CLASSES = 200
TINY_IMAGENET_SIZE = '237 MiB'


def read_cifar(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads the binary version of CIFAR-10 or CIFAR-100.

  Args:
    name: 'cifar10' or 'cifar100'.
    paths: the archive, `cifar-10-binary.tar.gz` or `cifar-100-binary.tar.gz`.
    split: 'train' or 'test'.

  Yields:
    (id, image, label) in the original order; CIFAR-100's label is the fine
    one.

  Raises:
    ValueError: the archive is damaged or another one.
  """
  if name == 'cifar100':
    batches, label_bytes = [f'{split}.bin'], 2  # coarse label, fine label
  elif split == 'train':
    batches, label_bytes = [f'data_batch_{i}.bin' for i in range(1, 6)], 1
  else:
    batches, label_bytes = ['test_batch.bin'], 1
  row_bytes = label_bytes + 3 * 32 * 32
  contents = archive_files.read_tar_gz(
    paths[0], batches, limit=_CIFAR_IMAGES * row_bytes + _CIFAR_OTHER
  )
  classes = {'cifar10': 10, 'cifar100': 100}[name]
  index = 0
  for batch, content in zip(batches, contents, strict=True):
    raw = np.frombuffer(content, 'u1')
    if raw.size == 0 or raw.size % row_bytes:
      raise archive_files.unexpected(
        paths[0], f'{batch} should have rows of {row_bytes} bytes'
      )
    rows = raw.reshape(-1, row_bytes)
    labels = rows[:, label_bytes - 1]
    archive_files.check_labels(paths[0], batch, labels, 0, classes - 1)
    for row, label in zip(rows, labels, strict=True):
      image = row[label_bytes:].reshape(3, 32, 32).transpose(1, 2, 0)
      yield (
        f'{split}_{index:05d}',
        Image.fromarray(np.ascontiguousarray(image)),
        int(label),
      )
      index += 1


def read_svhn(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads SVHN's cropped digits (`train_32x32.mat`, `test_32x32.mat`)."""
  del name
  import scipy.io  # Imported here: it takes 0.3 s, which others save.

  path = next((p for p in paths if p.name.startswith(split)), None)
  if path is None:
    raise ValueError(
      f'data.source={paths[0]} should be the folder that holds '
      'train_32x32.mat and test_32x32.mat'
    )
  archive_files.check_mat(path, limit=_SVHN_LIMIT)
  try:
    content = scipy.io.loadmat(path, variable_names=('X', 'y'))
    images, labels = content['X'], content['y'].reshape(-1)
  except Exception as error:  # SciPy raises many classes for damaged files.
    raise archive_files.unexpected(
      path, f'a MATLAB file with X and y ({error})'
    ) from error
  if images.shape[:3] != (32, 32, 3) or images.shape[3:] != labels.shape:
    raise archive_files.unexpected(path, f'X of 32x32x3xN, got {images.shape}')
  if images.dtype != np.uint8:
    raise archive_files.unexpected(path, f'X of uint8, got {images.dtype}')
  # The file gives the digit zero the label 10.
  archive_files.check_labels(path, 'y', labels, 1, 10)
  for index, label in enumerate(labels):
    image = Image.fromarray(np.ascontiguousarray(images[..., index]))
    yield f'{split}_{index:06d}', image, int(label) % 10


def _tiny_image(files: archive_files.Tree, name: str) -> Image.Image:
  """Decodes an image of TinyImageNet, 64x64 in RGB."""
  raw = files.read(name)
  try:
    image = Image.open(io.BytesIO(raw))
    if image.size == (64, 64):
      # Some of the JPEGs are grey; `convert` gives them three equal channels.
      return image.convert('RGB')
  except (OSError, SyntaxError, Image.DecompressionBombError) as error:
    message = f'{name} does not decode ({error})'
    raise archive_files.unexpected(files.path, message) from error
  raise archive_files.unexpected(
    files.path, f'{name} should be 64x64, got {image.size}'
  )


def read_tiny_imagenet(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads TinyImageNet in its original layout.

  The label of a class is its line number in wnids.txt, from 0. An archive
  with only some of the images is read as well.

  Args:
    name: unused.
    paths: the zip, or the folder that it unpacks to.
    split: 'train', or 'test' for the official validation set.

  Yields:
    (id, image, label): training images by class and number, validation
    images by number.

  Raises:
    ValueError: the archive is damaged or another one, or an image in it is
      damaged.
  """
  del name
  files = archive_files.Tree(
    paths[0], 'tiny-imagenet-200', size=TINY_IMAGENET_SIZE
  )
  wnids = files.read('wnids.txt').decode('ascii', 'replace').split()
  label_of = {wnid: i for i, wnid in enumerate(wnids)}
  if len(label_of) != TINY_IMAGENET_CLASSES:
    raise archive_files.unexpected(
      paths[0], f'wnids.txt should list {TINY_IMAGENET_CLASSES} classes'
    )
  if split == 'train':
    yield from _tiny_train(files, label_of)
  else:
    yield from _tiny_validation(files, label_of)


def _tiny_train(
  files: archive_files.Tree, label_of: dict[str, int]
) -> Iterator[Example]:
  pattern = re.compile(r'train/(\w+)/images/\1_(\d+)\.JPEG')
  images = []
  for member in files.names:
    match = pattern.fullmatch(member)
    if match and match[1] in label_of:
      images.append((label_of[match[1]], int(match[2]), member))
  if not images:
    raise archive_files.unexpected(
      files.path, 'it holds no train/<wnid>/images/*.JPEG'
    )
  for label, number, member in sorted(images):
    yield f'train_{label:03d}_{number:05d}', _tiny_image(files, member), label


def _tiny_validation(
  files: archive_files.Tree, label_of: dict[str, int]
) -> Iterator[Example]:
  table = files.read('val/val_annotations.txt').decode('ascii', 'replace')
  members = set(files.names)
  for line in table.splitlines():
    match = re.match(r'(val_(\d+)\.JPEG)\t(\w+)', line)
    member = f'val/images/{match[1]}' if match else ''
    if member not in members:
      continue  # The archive has only some of the images.
    wnid = match[3]
    if wnid not in label_of:
      raise archive_files.unexpected(
        files.path, f'val_annotations.txt names the unknown class {wnid!r}'
      )
    yield (
      f'test_{int(match[2]):05d}',
      _tiny_image(files, member),
      label_of[wnid],
    )


def _imagenet_wnids(file: str) -> list[str]:
  """Returns WordNet ids from a file that TFDS ships.

  Args:
    file: 'labels.txt': of all classes; 'validation_labels.txt': of the
      validation images.
  """
  import tensorflow_datasets as tfds

  path = tfds.core.tfds_path(f'datasets/imagenet2012/{file}')
  return path.read_text().split()


def read_imagenet(
  name: str, paths: list[pathlib.Path], split: str
) -> Iterator[Example]:
  """Reads the archives of ImageNet-1k; images stay encoded as they are.

  Args:
    name: unused.
    paths: `ILSVRC2012_img_train.tar`, which holds one archive per class, and
      `ILSVRC2012_img_val.tar`, which holds 50,000 images.
    split: 'train', or 'test' for the official validation set.

  Yields:
    (file name, content, label); classes are numbered by their WordNet id.

  Raises:
    ValueError: an archive is damaged or another one.
  """
  del name
  file_name = f'ILSVRC2012_img_{"train" if split == "train" else "val"}.tar'
  path = next((p for p in paths if p.name == file_name), None)
  if path is None:
    raise ValueError(
      f'data.source={paths[0]} should be the folder that holds '
      f'ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar'
    )
  label_of = {wnid: i for i, wnid in enumerate(_imagenet_wnids('labels.txt'))}
  try:
    with tarfile.open(path) as archive:
      if split == 'train':
        yield from _imagenet_train(archive, label_of, path)
      else:
        yield from _imagenet_validation(archive, label_of, path)
  except (tarfile.TarError, EOFError, OSError) as error:
    raise archive_files.unexpected(
      path, f'a readable .tar ({error})'
    ) from error


def _imagenet_train(archive, label_of, path) -> Iterator[Example]:
  for member in archive:
    wnid = pathlib.PurePath(member.name).stem
    if wnid not in label_of or not member.isfile():
      raise archive_files.unexpected(
        path, f'{member.name} is the archive of no class'
      )
    with tarfile.open(fileobj=archive.extractfile(member)) as images:
      for image in images:
        content = archive_files.read_member(images, image, path)
        file_name = pathlib.PurePath(image.name).name
        yield file_name, io.BytesIO(content), label_of[wnid]


def _imagenet_validation(archive, label_of, path) -> Iterator[Example]:
  wnids = _imagenet_wnids('validation_labels.txt')
  for member in archive:
    file_name = pathlib.PurePath(member.name).name
    match = re.fullmatch(r'ILSVRC2012_val_(\d{8})\.JPEG', file_name)
    number = int(match[1]) if match else 0
    if not 1 <= number <= len(wnids) or not member.isfile():
      raise archive_files.unexpected(
        path, f'{member.name} is no image of the validation set'
      )
    content = archive_files.read_member(archive, member, path)
    yield file_name, io.BytesIO(content), label_of[wnids[number - 1]]
