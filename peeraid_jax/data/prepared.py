"""Data sets prepared by TFDS, read and written without TensorFlow."""

import json
import os
import pathlib

import numpy as np

from peeraid_jax.data import archives, facts

# The versions that TFDS gives these data sets; ours for TinyImageNet.
_VERSIONS = {
  'cifar10': '3.0.2',
  'cifar100': '3.0.2',
  'svhn': '3.1.0',
  'tinyimagenet': '1.0.0',
  'imagenet': '5.1.0',
}


def default_dir() -> str:
  """Where TFDS looks for data: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
  return os.environ.get(
    'TFDS_DATA_DIR', os.path.expanduser('~/tensorflow_datasets')
  )


def _prepared_folder(name: str, data_dir: str) -> pathlib.Path | None:
  """Returns the newest prepared version's folder, or None."""
  folder = pathlib.Path(data_dir) / facts.get(name).tfds
  found = sorted(folder.glob('*/dataset_info.json'))
  return found[-1].parent if found else None


def _find_archives(name: str, data_dir: str, source: str):
  """Returns the paths of the archives to prepare from, or None."""
  wanted = facts.get(name).archives
  if source:
    path = pathlib.Path(source)
    if not path.exists():
      raise FileNotFoundError(
        f'data.source={source} does not exist; it should be '
        f'{" and ".join(wanted)}, or the folder that holds it'
      )
    if path.is_file():
      return [path]
    inside = [path / w for w in wanted]
    return inside if all(p.exists() for p in inside) else [path]
  # The latter is where TFDS has archives put by hand.
  for folder in (data_dir, pathlib.Path(data_dir) / 'downloads' / 'manual'):
    found = [pathlib.Path(folder) / w for w in wanted]
    if all(p.exists() for p in found):
      return found
  folder = pathlib.Path(data_dir) / wanted[0].removesuffix('.zip')
  if wanted[0].endswith('.zip') and folder.is_dir():
    return [folder]
  return None


def _missing(name: str, data_dir: str) -> FileNotFoundError:
  known = facts.get(name)
  files = ' and '.join(known.url + a for a in known.archives)
  download = ''
  if not known.by_hand:
    download = (
      'let the program download it with --config.data.download=True; or '
    )
  return FileNotFoundError(
    f'{name} is not in {data_dir} (data.dir). Either download {files} '
    f'({known.size}) into that folder, it is prepared at the next start; or '
    f'{download}name the folder of an existing TFDS copy with '
    '--config.data.dir=DIR or TFDS_DATA_DIR.'
  )


def _builder(name: str, data_dir: str, paths):
  """A TFDS builder that writes what the reader of `name` yields.

  It writes what TFDS's own builder of that name would, less CIFAR-100's
  coarse labels: TFDS's own need TensorFlow to encode images and to open
  archives.
  """
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered

  known = facts.get(name)
  image = tfds.features.Image(shape=known.shape, encoding_format='png')
  if not known.shape[0]:
    image = tfds.features.Image(encoding_format='jpeg')
  features = {
    _id_of(name): tfds.features.Text(),
    'image': image,
    'label': tfds.features.ClassLabel(num_classes=known.num_classes),
  }

  def info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def split_generators(self, dl_manager):
    files = paths
    if files is None:
      urls = {a: known.url + a for a in known.archives}
      fetched = dl_manager.download(urls)
      files = _named(fetched)
    return {
      known.test_split if s == 'test' else s: self._generate_examples(files, s)
      for s in ('train', 'test')
    }

  def generate_examples(self, files, split):
    for key, image, label in archives.READERS[name](name, files, split):
      yield key, {_id_of(name): key, 'image': image, 'label': label}

  with registered.skip_registration():
    builder = type(
      ''.join(p.title() for p in known.tfds.split('_')),
      (tfds.core.GeneratorBasedBuilder,),
      {
        'VERSION': tfds.core.Version(_VERSIONS[name]),
        '_info': info,
        '_split_generators': split_generators,
        '_generate_examples': generate_examples,
        '__module__': __name__,
      },
    )
  return builder(data_dir=data_dir, file_format='array_record')


def _id_of(name: str) -> str:
  """The feature that sorts into the original order."""
  return 'file_name' if name == 'imagenet' else 'id'


def _named(fetched) -> list[pathlib.Path]:
  """Gives downloaded files, cached under hashes, their own names back."""
  paths = []
  for name, path in fetched.items():
    link = pathlib.Path(path).parent / name
    if not link.exists():
      os.link(path, link)
    paths.append(link)
  return paths


def prepare(name: str, data_dir: str, *, source='', download=False) -> None:
  """Writes data set `name` into `data_dir` unless it is there already.

  Args:
    name: a data set of `facts.DATASETS`.
    data_dir: folder of prepared data sets; archives lying in it are found.
    source: path of the archive, or of the folder it unpacks to.
    download: fetch the archives from their public address if need be.

  Raises:
    FileNotFoundError: neither prepared, nor an archive, nor `download`.
    ValueError: an archive is broken or another one.
    PermissionError: `data_dir` cannot be written.
  """
  if _prepared_folder(name, data_dir):
    return
  paths = _find_archives(name, data_dir, source)
  if paths is None and (facts.get(name).by_hand or not download):
    raise _missing(name, data_dir)
  try:
    os.makedirs(data_dir, exist_ok=True)
    if not os.access(data_dir, os.W_OK):
      raise PermissionError
  except PermissionError:
    raise PermissionError(
      f'cannot write the prepared {name} into data.dir={data_dir}; name '
      'another folder with --config.data.dir=DIR'
    ) from None
  _builder(name, data_dir, paths).download_and_prepare()


def read(name: str, split: str, data_dir: str):
  """Reads a prepared split into memory, in its original order.

  Returns:
    (images uint8 [N, H, W, C], labels int32 [N]).

  Raises:
    ValueError: the prepared files are damaged, or of another format.
  """
  # From the folder: by name, TFDS would start to download what is missing.
  folder = _prepared_folder(name, data_dir)
  _check_format(folder)
  known = facts.get(name)
  try:
    source = _data_source(folder, name, split)
    images = np.empty((len(source), *known.shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    ids = []
    for row, record in enumerate(_records(source)):
      images[row] = record['image']
      labels[row] = record['label']
      # SVHN 3.0.0 has no id: it keeps the order of its file.
      ids.append(record.get('id', b'%09d' % row))
  except Exception as error:  # Riegeli, Pillow and TFDS have no one class.
    raise _damaged(folder, error) from error
  order = np.argsort(np.array(ids), kind='stable')
  return images[order], labels[order]


def _damaged(folder, error: Exception) -> ValueError:
  return ValueError(
    f'{folder} is damaged ({type(error).__name__}: {str(error)[:200]}). '
    'Delete that folder: it is prepared again from the archive.'
  )


def _check_format(folder: pathlib.Path) -> None:
  """Checks that records can be read in any order, without TensorFlow.

  Raises:
    ValueError: TFDS wrote them in another format.
  """
  try:
    info = json.loads((folder / 'dataset_info.json').read_text())
    found = info.get('fileFormat', 'tfrecord')
  except (OSError, ValueError, AttributeError):
    return  # Damaged: said by whoever reads it next.
  if found != 'array_record':
    raise ValueError(
      f'{folder} is in the format {found}, which cannot be read in any order; '
      'make a copy with `tfds build --file_format=array_record`, or name '
      'another folder with --config.data.dir=DIR'
    )


def _data_source(folder: pathlib.Path, name: str, split: str, **kwargs):
  import logging

  import tensorflow_datasets as tfds

  # TFDS advises to install OpenCV at each read; Pillow is fast enough.
  logging.getLogger('absl').setLevel(logging.ERROR)
  if split == 'test':
    split = facts.get(name).test_split
  builder = tfds.builder_from_directory(folder)
  return builder.as_data_source(split, **kwargs)


def _records(source):
  """Yields all records, in the order of the files."""
  chunk = 4096
  for start in range(0, len(source), chunk):
    rows = range(start, min(start + chunk, len(source)))
    yield from source.__getitems__(list(rows))


class Records:
  """A `stored.Source` of a prepared split: encoded images by their record."""

  def __init__(self, source, folder: pathlib.Path):
    self._source, self._folder = source, folder

  def read(self, row: int) -> tuple[bytes, str]:
    """Returns an encoded image and what to call it.

    Raises:
      ValueError: the prepared file is damaged there.
    """
    try:
      content = bytes(self._source[row]['image'])
    except Exception as error:  # As above.
      raise _damaged(self._folder, error) from error
    return content, f'record {row} in {self._folder}'


def open_split(name: str, split: str, data_dir: str):
  """Opens a prepared split whose images stay on disk.

  Labels are in the records: they are all read once, and kept in a small file
  beside them.

  Returns:
    (source, its rows in the original order, int32 labels of these).

  Raises:
    ValueError: the prepared files are damaged, or of another format.
  """
  import tensorflow_datasets as tfds

  folder = _prepared_folder(name, data_dir)
  _check_format(folder)
  index = folder / f'peeraid_index_{split}.npz'
  try:
    source = _data_source(
      folder, name, split, decoders={'image': tfds.decode.SkipDecoding()}
    )
    found = _read_index(index, len(source))
    if found is None:
      labels, ids = [], []
      for row, record in enumerate(_records(source)):
        labels.append(record['label'])
        ids.append(record.get(_id_of(name), b'%09d' % row))
      order = np.argsort(np.array(ids), kind='stable')
      found = order, np.array(labels, np.int32)[order]
      _write_index(index, *found)
  except Exception as error:  # As above.
    raise _damaged(folder, error) from error
  return Records(source, folder), *found


def _read_index(path: pathlib.Path, count: int):
  """Returns what `_write_index` wrote; None where it is of no use."""
  try:
    with np.load(path) as found:
      order, labels = found['order'], found['labels']
  except Exception:  # Missing or damaged: NumPy raises whatever.
    return None
  fits = np.array_equal(np.sort(order), np.arange(count))
  fits &= labels.shape == (count,)
  return (order, labels) if fits else None


def _write_index(path: pathlib.Path, order, labels) -> None:
  """Saves an index, unless the folder is not to be written."""
  beside = path.with_name(f'{path.stem}.{os.getpid()}.npz')
  try:
    np.savez(beside, order=order, labels=labels)
    os.replace(beside, path)
  except OSError:
    beside.unlink(missing_ok=True)
