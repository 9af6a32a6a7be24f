"""Small archives in the layouts of the public ones."""

import io
import pathlib
import tarfile
import zipfile

import numpy as np
from PIL import Image
from sklearn import datasets


def jpeg(value: int, mode: str = 'RGB') -> bytes:
  buffer = io.BytesIO()
  color = value if mode == 'L' else (value, 0, 255 - value)
  Image.new(mode, (64, 64), color).save(buffer, 'JPEG', quality=95)
  return buffer.getvalue()


def tiny_members(train_classes=3) -> dict[str, bytes]:
  """A TinyImageNet with 200 classes and images of a few of them."""
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
  # Listed, but not in this partial archive.
  lines.append(f'val_7.JPEG\t{wnids[5]}\t0\t0\t1\t1')
  members['val/val_annotations.txt'] = '\n'.join(lines).encode()
  members['test/images/test_0.JPEG'] = jpeg(0)
  return members


def zip_of(path, members, root='tiny-imagenet-200/'):
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in members.items():
      archive.writestr(root + name, content)
  return pathlib.Path(path)


def cifar(path, name, rows: dict[str, np.ndarray]):
  with tarfile.open(path, 'w:gz') as archive:
    for member, content in rows.items():
      info = tarfile.TarInfo(f'{name}/{member}')
      info.size = content.nbytes
      archive.addfile(info, io.BytesIO(content.tobytes()))


def tar_of(members: dict[str, bytes]) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return buffer.getvalue()


def photographs(folder: pathlib.Path, counts: dict[str, int]) -> None:
  """Parts of two photographs that scikit-learn has, of many sizes.

  Args:
    folder: gets CLASS/NUMBER.jpg.
    counts: class -> number of images; a class has a place of its own.
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
  buffer = io.BytesIO()
  Image.fromarray(np.asarray(array, np.uint8)).save(buffer, 'PNG')
  return buffer.getvalue()


def imagenet_train(*, foreign: bool = False) -> bytes:
  """ILSVRC2012_img_train.tar with three images of two classes."""
  wnids = ('n01440764', 'n15075141')  # The first and the last class.
  first = {f'{wnids[0]}_{n}.JPEG': jpeg(n) for n in (7, 12)}
  # One of ImageNet's JPEGs is a PNG.
  last = {f'{wnids[1]}_3.JPEG': png(np.full((20, 30, 3), 200))}
  inside = {
    f'{wnid}.tar': tar_of(images)
    for wnid, images in zip(wnids, (first, last), strict=True)
  }
  if foreign:
    inside['n1.tar'] = b''
  return tar_of(inside)


def imagenet(where: pathlib.Path, *, foreign: bool = False) -> None:
  """ImageNet's two archives; three validation images."""
  where.mkdir(parents=True)
  (where / 'ILSVRC2012_img_train.tar').write_bytes(
    imagenet_train(foreign=foreign)
  )
  (where / 'ILSVRC2012_img_val.tar').write_bytes(
    tar_of({f'ILSVRC2012_val_{n:08d}.JPEG': jpeg(n) for n in (3, 1, 2)})
  )
