"""Small archives in the layouts of the public ones, and other test data."""

import io
import pathlib
import tarfile
import zipfile

import numpy as np
from PIL import Image
from sklearn import datasets

from peeraid_jax import data


def register(test, name: str, source: data.Source, **kwargs) -> None:
  """Registers a data set until the test has ended."""
  entries = data.SOURCES._entries
  # Cleanups run in the reverse order.
  test.addCleanup(entries.update, dict(entries))
  test.addCleanup(entries.clear)
  data.register(name, source, **kwargs)


def jpeg(value: int, mode: str = 'RGB') -> bytes:
  """Encodes a 64x64 image of one colour; `value` is its red channel."""
  buffer = io.BytesIO()
  color = value if mode == 'L' else (value, 0, 255 - value)
  Image.new(mode, (64, 64), color).save(buffer, 'JPEG', quality=95)
  return buffer.getvalue()


def tiny_members(train_classes=3) -> dict[str, bytes]:
  """Returns path -> content of a TinyImageNet with images of a few classes.

  Args:
    train_classes: number of the 200 classes that have training images.
  """
  wnids = [f'n{9000 - i:08d}' for i in range(200)]  # not in sorted order
  members = {'wnids.txt': '\n'.join(wnids).encode() + b'\n'}
  for label in range(train_classes):
    wnid = wnids[label]
    members[f'train/{wnid}/{wnid}_boxes.txt'] = b'0\t0\t62\t62\n'
    for number in (2, 10, 0):
      mode = 'L' if (label, number) == (1, 10) else 'RGB'
      name = f'train/{wnid}/images/{wnid}_{number}.JPEG'
      members[name] = jpeg(20 * label + number, mode)
  lines = []
  for number, label in enumerate((2, 0)):
    members[f'val/images/val_{number}.JPEG'] = jpeg(100 + number)
    lines.append(f'val_{number}.JPEG\t{wnids[label]}\t0\t0\t1\t1')
  # The table lists an image that this partial archive does not have.
  lines.append(f'val_7.JPEG\t{wnids[5]}\t0\t0\t1\t1')
  members['val/val_annotations.txt'] = '\n'.join(lines).encode()
  members['test/images/test_0.JPEG'] = jpeg(0)
  return members


def zip_of(path, members, root='tiny-imagenet-200/') -> pathlib.Path:
  """Writes a zip of path -> content, all below `root`."""
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in members.items():
      archive.writestr(root + name, content)
  return pathlib.Path(path)


def cifar(path, name, rows: dict[str, np.ndarray]) -> None:
  """Writes a .tar.gz in the binary layout of CIFAR.

  Args:
    path: path of the archive.
    name: folder in the archive.
    rows: file name -> uint8 [N, label bytes + 3072].
  """
  with tarfile.open(path, 'w:gz') as archive:
    for member, content in rows.items():
      info = tarfile.TarInfo(f'{name}/{member}')
      info.size = content.nbytes
      archive.addfile(info, io.BytesIO(content.tobytes()))


def tar_of(members: dict[str, bytes]) -> bytes:
  """Returns a tar of name -> content."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def photographs(folder: pathlib.Path, counts: dict[str, int]) -> None:
  """Writes CLASS/NUMBER.jpg: parts, of many sizes, of two photographs.

  The photographs ship with scikit-learn. Each class has its own region of
  them.

  Args:
    folder: folder that the classes are written into.
    counts: class -> number of images.
  """
  whole = np.concatenate(datasets.load_sample_images().images, axis=1)
  rng = np.random.default_rng(0)
  for label, (name, count) in enumerate(counts.items()):
    (folder / name).mkdir(parents=True)
    for number in range(count):
      height, width = rng.integers(20, 60, 2)
      top, left = 60 * label + rng.integers(0, 20, 2)
      part = whole[top : top + height, 3 * left : 3 * left + width]
      path = folder / name / f'{number:03d}.jpg'
      Image.fromarray(part).save(path, quality=90)


def png(array) -> bytes:
  """Encodes an array [H, W] or [H, W, 3] of numbers from 0 to 255."""
  buffer = io.BytesIO()
  Image.fromarray(np.asarray(array, np.uint8)).save(buffer, 'PNG')
  return buffer.getvalue()


def imagenet_train(*, foreign: bool = False) -> bytes:
  """Returns an ILSVRC2012_img_train.tar with three images of two classes.

  Args:
    foreign: add a member that is the archive of no class.
  """
  wnids = ('n01440764', 'n15075141')  # The first and the last class.
  first = {f'{wnids[0]}_{n}.JPEG': jpeg(n) for n in (7, 12)}
  # One of ImageNet's JPEGs is a PNG.
  last = {f'{wnids[1]}_3.JPEG': png(np.full((20, 30, 3), 200))}
  archives = {
    f'{wnid}.tar': tar_of(images)
    for wnid, images in zip(wnids, (first, last), strict=True)
  }
  if foreign:
    archives['n1.tar'] = b''
  return tar_of(archives)


def imagenet(folder: pathlib.Path, *, foreign: bool = False) -> None:
  """Writes ImageNet's two archives; the second has three images."""
  folder.mkdir(parents=True)
  (folder / 'ILSVRC2012_img_train.tar').write_bytes(
    imagenet_train(foreign=foreign)
  )
  (folder / 'ILSVRC2012_img_val.tar').write_bytes(
    tar_of({f'ILSVRC2012_val_{n:08d}.JPEG': jpeg(n) for n in (3, 1, 2)})
  )
