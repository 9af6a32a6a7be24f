"""Faults of data: no other pixels or labels are trained on than those meant.

Bad input is refused with the name of its file; several processes, killed ones
and links in a shared folder do no harm.
"""

import contextlib
import gzip
import io
import multiprocessing
import os
import pathlib
import shutil
import tarfile
import time
import zipfile
import zlib
from unittest import mock

import numpy as np
import pytest
import scipy.io
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import data
from peeraid_jax.data import archives, facts, folder, notes, prepared
from tests import helpers
from tests.data import makers

_BATCHES = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']


def _cifar(path: pathlib.Path, *, label: int = 1) -> np.ndarray:
  """Writes a CIFAR-10 of few images; returns the labels of a split."""
  rng = np.random.default_rng(0)
  rows = rng.integers(0, 256, (5, 3073), dtype=np.uint8)
  rows[:, 0] = (1, 2, 3, 4, label)
  makers.cifar(path, 'cifar-10-batches-bin', dict.fromkeys(_BATCHES, rows))
  return np.tile(rows[:, 0], 5)


def _svhn(path: pathlib.Path, labels, **kwargs) -> None:
  """Writes a file of SVHN with as many images as labels."""
  images = np.zeros((32, 32, 3, len(labels)), np.uint8)
  content = {'X': images, 'y': np.array(labels)[:, None], **kwargs}
  scipy.io.savemat(path, content, do_compression=True)


def _load_cifar(data_dir, **kwargs):
  return data.load('cifar10', split='train', data_dir=str(data_dir), **kwargs)


class ImagesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    rng = np.random.default_rng(0)
    self.array = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    # Without it, a part of the training images would be the test set.
    (self.folder / 'val').mkdir()
    for name in ('cat', 'dog'):
      (self.folder / 'train' / name).mkdir(parents=True)
      self.save(f'{name}/0.png', Image.fromarray(self.array))

  def save(self, name: str, image: Image.Image, **kwargs) -> pathlib.Path:
    path = self.folder / 'train' / name
    image.save(path, **kwargs)
    return path

  def load(self) -> np.ndarray:
    """Returns the training images: the first cat, others, the first dog."""
    return np.asarray(
      data.load(
        'folder', split='train', data_dir=str(self.folder), image_size=8
      ).images
    )

  @pytest.mark.fault('images')
  def test_sixteen_bits(self):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    self.save('cat/1.png', Image.fromarray(values))
    np.testing.assert_array_equal(
      self.load()[1, ..., 0], np.round(values / 257)
    )

  @pytest.mark.fault('images', count=2)
  def test_numbers_of_unknown_range(self):
    for dtype in (np.float32, np.int32):
      path = self.save('cat/1.tif', Image.fromarray(np.ones((8, 8), dtype)))
      with self.assertRaisesRegex(ValueError, f'{path} has pixels of a kind'):
        self.load()

  @pytest.mark.fault('images')
  def test_orientation(self):
    exif = Image.Exif()
    exif[274] = 3  # Upside down.
    self.save('cat/1.png', Image.fromarray(self.array), exif=exif)
    np.testing.assert_array_equal(self.load()[1], self.array[::-1, ::-1])

  @pytest.mark.fault('images')
  def test_transparent_pixels(self):
    """What nobody sees is not trained on."""
    alpha = np.full((8, 8, 1), 255, np.uint8)
    alpha[:4] = 0
    self.save(
      'cat/1.png', Image.fromarray(np.concatenate([self.array, alpha], -1))
    )
    found = self.load()[1]
    np.testing.assert_array_equal(found[:4], np.full((4, 8, 3), 255))
    np.testing.assert_array_equal(found[4:], self.array[4:])

  @parameterized.parameters('gif', 'png', 'webp', 'tif')
  @pytest.mark.fault('images')
  def test_several_frames(self, ending):
    frames = [Image.fromarray(a) for a in (self.array, self.array[::-1])]
    path = self.save(
      f'cat/1.{ending}', frames[0], save_all=True, append_images=frames[1:]
    )
    if ending == 'gif':
      path = path.rename(path.with_suffix('.png'))
    with self.assertRaisesRegex(ValueError, f'{path} has 2 frames'):
      self.load()

  @parameterized.parameters('gif', 'GIF', 'pgm', 'jp2', 'heic')
  @pytest.mark.fault('images')
  def test_formats_that_are_not_read(self, ending):
    path = self.folder / 'train' / 'cat' / f'1.{ending}'
    path.write_bytes(b'an image')
    with self.assertRaisesRegex(ValueError, f'{path} is an image of a format'):
      self.load()

  @pytest.mark.fault('images', count=2)
  def test_files_that_are_left_out_are_named(self):
    for name in ('train/cat/labels.csv', 'train/stray.png'):
      notes.say.cache_clear()
      path = self.folder / name
      path.write_bytes(makers.png(self.array))
      printed = io.StringIO()
      with contextlib.redirect_stderr(printed):
        self.assertLen(self.load(), 2)
      self.assertIn('1 files are left out', printed.getvalue())
      self.assertIn(str(path), printed.getvalue())
      path.unlink()

  @pytest.mark.fault('images')
  def test_decompression_bomb(self):
    path = self.save('cat/1.png', Image.new('1', (20_000, 20_000)))
    with self.assertRaisesRegex(ValueError, f'{path} has more pixels than'):
      self.load()


class ArchivesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  @pytest.mark.fault('archives', count=40)
  def test_flipped_bits_of_cifar(self):
    """Bits that deflate stores, so that no code becomes an invalid one."""
    path = self.folder / 'cifar-10-binary.tar.gz'
    _cifar(path)
    right = path.read_bytes()
    reader = lambda: [
      (np.asarray(image).tobytes(), label)
      for split in ('train', 'test')
      for _, image, label in archives.read_cifar('cifar10', [path], split)
    ]
    whole = reader()
    for place in np.linspace(200, len(right) - 9, 40).astype(int):
      content = bytearray(right)
      content[place] ^= 1
      path.write_bytes(content)
      with self.assertRaisesRegex(ValueError, 'is not what was expected'):
        self.assertEqual(reader(), whole)

  @pytest.mark.fault('archives', count=2)
  def test_labels_of_cifar(self):
    path = self.folder / 'cifar-10-binary.tar.gz'
    for label in (10, 255):
      _cifar(path, label=label)
      with self.assertRaisesRegex(ValueError, f'image 4 is {label}'):
        _load_cifar(self.folder)

  @pytest.mark.fault('archives', count=3)
  def test_labels_of_svhn(self):
    path = self.folder / 'train_32x32.mat'
    for label in (0, 11, 255):
      _svhn(path, [1, 10, label])
      with self.assertRaisesRegex(
        ValueError, f'between 1 and 10, and that of image 2 is {label}'
      ):
        list(archives.read_svhn('svhn', [path], 'train'))

  @pytest.mark.fault('archives', count=20)
  def test_flipped_bits_of_svhn(self):
    path = self.folder / 'train_32x32.mat'
    rng = np.random.default_rng(0)
    _svhn(path, [1, 2], X=rng.integers(0, 256, (32, 32, 3, 2), np.uint8))
    right = path.read_bytes()
    for place in np.linspace(200, 6000, 20).astype(int):
      content = bytearray(right)
      content[place] ^= 1
      path.write_bytes(content)
      with self.assertRaisesRegex(ValueError, 'is not what was expected'):
        list(archives.read_svhn('svhn', [path], 'train'))

  @pytest.mark.fault('archives')
  def test_svhn_of_one_file(self):
    path = self.folder / 'test_32x32.mat'
    _svhn(path, [1])
    with self.assertRaisesRegex(ValueError, 'should be the folder that holds'):
      list(archives.read_svhn('svhn', [path], 'train'))

  @pytest.mark.fault('archives')
  def test_another_archive_is_noted(self):
    """It may be a part of the published one, so it is used."""
    path = self.folder / 'cifar-10-binary.tar.gz'
    labels = _cifar(path)
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
      found = _load_cifar(self.folder)
    np.testing.assert_array_equal(found.labels, labels)
    self.assertIn(f'note: {path} is not the published', printed.getvalue())

  def assert_refused(self, message: str, reader, path: pathlib.Path):
    """Expects an error; the reader must not need a lot of memory for it."""
    self.assertLess(path.stat().st_size, 5_000_000)
    with self.assertRaisesRegex(ValueError, f'{path} .*{message}'):
      list(reader([path], 'train'))

  @pytest.mark.fault('bombs', count=2)
  def test_bombs_of_cifar(self):
    path = self.folder / 'cifar-10-binary.tar.gz'
    zeros = bytes(2**20)
    cifar = lambda *args: archives.read_cifar('cifar10', *args)
    info = tarfile.TarInfo('x/data_batch_1.bin')
    info.size = 400 * 2**20
    with gzip.open(path, 'wb', compresslevel=1) as file:
      file.write(info.tobuf())
      for _ in range(400):
        file.write(zeros)
    self.assert_refused('unpacks to more than', cifar, path)
    # Holes of sparse files take no space in a .tar.
    info = tarfile.TarInfo('x/data_batch_1.bin')
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 0
    header[483:495] = b'%011o\0' % (2**33 - 1)
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    path.write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    self.assert_refused('it holds no data_batch_1.bin', cifar, path)

  @pytest.mark.fault('bombs')
  def test_bomb_of_svhn(self):
    path = self.folder / 'train_32x32.mat'
    _svhn(path, [1, 2])
    packer, zeros = zlib.compressobj(1), bytes(2**20)
    packed = b''.join(packer.compress(zeros) for _ in range(100))
    packed += packer.flush()
    tag = (15).to_bytes(4, 'little') + len(packed).to_bytes(4, 'little')
    path.write_bytes(path.read_bytes()[:128] + tag + packed)
    with mock.patch.object(archives, '_SVHN_LIMIT', 10 * 2**20):
      self.assert_refused(
        'unpacks to more than',
        lambda *args: archives.read_svhn('svhn', *args),
        path,
      )

  @pytest.mark.fault('bombs', count=2)
  def test_bombs_of_tiny_imagenet(self):
    members = makers.tiny_members()
    for name in ('wnids.txt', next(n for n in members if n.endswith('.JPEG'))):
      path = self.folder / 'a.zip'
      with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
          content = bytes(20 * 2**20) if member == name else content
          archive.writestr(f'tiny-imagenet-200/{member}', content)
      self.assert_refused(
        f'{name} has 20,971,520 bytes',
        lambda *args: archives.read_tiny_imagenet('tinyimagenet', *args),
        path,
      )


def _slow(name, paths, split):
  """Reads CIFAR-10, and takes time for it; notes each call in a file."""
  with (paths[0].parent / 'calls').open('a') as file:
    file.write(f'{split}\n')
  for index, example in enumerate(archives.read_cifar(name, paths, split)):
    yield example
    if index == 3:
      time.sleep(1)


def _load_slowly(data_dir: pathlib.Path, results) -> None:
  """Loads CIFAR-10 in a process of its own."""
  slow = facts.get('cifar10')._replace(read_archives=_slow)
  data.register('cifar10', slow, replace=True)
  try:
    results.put(_load_cifar(data_dir).labels.tolist())
  except Exception as error:
    results.put(repr(error))


class ProcessesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.labels = _cifar(self.folder / 'cifar-10-binary.tar.gz').tolist()
    self.results = multiprocessing.get_context('spawn').Queue()

  def start(self):
    """Starts a process that loads CIFAR-10."""
    process = multiprocessing.get_context('spawn').Process(
      target=_load_slowly, args=(self.folder, self.results)
    )
    process.start()
    self.addCleanup(process.kill)
    return process

  def wait_for(self, condition) -> None:
    until = time.monotonic() + 120
    while not condition():
      self.assertLess(time.monotonic(), until)
      time.sleep(0.01)

  def names(self) -> list[str]:
    return sorted(path.name for path in self.folder.iterdir())

  @pytest.mark.fault('processes', count=3)
  def test_first_start_of_several(self):
    started = [self.start() for _ in range(3)]
    for _ in started:
      self.assertEqual(self.results.get(timeout=200), self.labels)
    # One has prepared the data set, for all.
    self.assertEqual((self.folder / 'calls').read_text(), 'train\ntest\n')
    self.assertEqual(
      self.names(),
      [
        '.peeraid_cifar10.lock',
        'calls',
        'cifar-10-binary.tar.gz',
        'cifar10',
      ],
    )

  @pytest.mark.fault('kills')
  def test_killed_while_preparing(self):
    process = self.start()
    self.wait_for((self.folder / 'calls').exists)
    process.kill()
    process.join(60)
    self.assertNotEmpty(list(self.folder.glob('.peeraid_*.preparing_*')))
    self.assertEqual(_load_cifar(self.folder).labels.tolist(), self.labels)
    self.assertEmpty(list(self.folder.glob('.peeraid_*.preparing_*')))

  @pytest.mark.fault('kills', count=2)
  def test_what_earlier_versions_left(self):
    """A folder of TFDS that is not whole is neither read nor in the way."""
    _load_cifar(self.folder)
    whole = self.folder / 'cifar10' / '3.0.2'
    left = whole.rename(whole.with_name('incomplete.A1B2C3_3.0.2'))
    for path in left.glob('*.array_record*'):
      path.write_bytes(b'')
    self.assertIsNone(prepared.folder_of(facts.get('cifar10'), self.folder))
    self.assertEqual(_load_cifar(self.folder).labels.tolist(), self.labels)
    (whole / 'dataset_info.json').unlink()
    with self.assertRaisesRegex(OSError, f'{whole} is incomplete'):
      _load_cifar(self.folder)

  @pytest.mark.fault('links', count=2)
  def test_links_in_a_shared_folder(self):
    """Others cannot have this process write or delete elsewhere."""
    outside = helpers.folder(self)
    (outside / 'file').write_text('mine')
    lock = self.folder / '.peeraid_cifar10.lock'
    for target in (outside / 'file', outside / 'none'):
      lock.symlink_to(target)
      with self.assertRaisesRegex(OSError, str(lock)):
        _load_cifar(self.folder)
      lock.unlink()
    (self.folder / '.peeraid_cifar10.preparing_x').symlink_to(outside)
    _load_cifar(self.folder)
    self.assertEqual([p.name for p in outside.iterdir()], ['file'])
    self.assertEqual((outside / 'file').read_text(), 'mine')


class PlacesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.enter_context(
      mock.patch.dict(os.environ, HOME=str(self.folder), XDG_CACHE_HOME='')
    )

  @pytest.mark.fault('paths', count=4)
  def test_home_in_paths(self):
    archive = self.folder / 'elsewhere.tar.gz'
    labels = _cifar(archive)
    found = _load_cifar('~/prepared', source='~/elsewhere.tar.gz')
    np.testing.assert_array_equal(found.labels, labels)
    with mock.patch.dict(os.environ, TFDS_DATA_DIR='~/prepared'):
      found = data.load('cifar10', split='train')
    np.testing.assert_array_equal(found.labels, labels)
    makers.photographs(self.folder / 'photos', {'cat': 5, 'dog': 5})
    found = data.load(
      'folder', split='train', data_dir='~/photos', image_size=8
    )
    self.assertLen(found.labels, 8)
    self.assertEqual(folder.classes(self.folder / 'photos'), ['cat', 'dog'])
    self.assertFalse(pathlib.Path('~').exists())

  @pytest.mark.fault('disk')
  def test_streaming_writes_nothing_beside_the_data(self):
    where = self.folder / 'data'
    where.mkdir()
    labels = _cifar(where / 'cifar-10-binary.tar.gz')
    _load_cifar(where)
    before = sorted(where.rglob('*'))
    for _ in range(2):
      found = _load_cifar(where, stream=True)
      np.testing.assert_array_equal(found.labels, labels)
    self.assertEqual(sorted(where.rglob('*')), before)
    self.assertNotEmpty(list((self.folder / '.cache').rglob('*_train.npz')))

  @pytest.mark.fault('damaged files')
  def test_streaming_notices_another_data_set(self):
    """The index of one is not used for another one at the same place."""
    for label in (5, 7):
      where = self.folder / str(label)
      where.mkdir()
      labels = _cifar(where / 'cifar-10-binary.tar.gz', label=label)
      found = _load_cifar(where, stream=True)
      np.testing.assert_array_equal(found.labels, labels)
    # Files of the same names, with as many records, and no index among them.
    shutil.copytree(
      where / 'cifar10',
      self.folder / '5' / 'cifar10',
      dirs_exist_ok=True,
      ignore=shutil.ignore_patterns('peeraid_index*'),
    )
    found = _load_cifar(self.folder / '5', stream=True)
    np.testing.assert_array_equal(found.labels, labels)


if __name__ == '__main__':
  absltest.main()
