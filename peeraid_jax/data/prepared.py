"""Data sets prepared by TFDS, read and written without TensorFlow."""

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
  found = [pathlib.Path(data_dir) / w for w in wanted]
  if all(p.exists() for p in found):
    return found
  folder = pathlib.Path(data_dir) / wanted[0].removesuffix('.zip')
  if wanted[0].endswith('.zip') and folder.is_dir():
    return [folder]
  return None


def _missing(name: str, data_dir: str) -> FileNotFoundError:
  known = facts.get(name)
  files = ' and '.join(known.url + a for a in known.archives)
  return FileNotFoundError(
    f'{name} is not in {data_dir} (data.dir). Either download {files} '
    f'({known.size}) into that folder, it is prepared at the next start; or '
    'let the program download it with --config.data.download=True; or name '
    'the folder of an existing TFDS copy with --config.data.dir=DIR or '
    'TFDS_DATA_DIR.'
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
  features = {
    'id': tfds.features.Text(),
    'image': tfds.features.Image(shape=known.shape, encoding_format='png'),
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
    return {s: self._generate_examples(files, s) for s in ('train', 'test')}

  def generate_examples(self, files, split):
    for key, image, label in archives.READERS[name](name, files, split):
      yield key, {'id': key, 'image': image, 'label': label}

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
  if paths is None and not download:
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
    ValueError: the prepared files are damaged.
  """
  # From the folder: by name, TFDS would start to download what is missing.
  folder = _prepared_folder(name, data_dir)
  try:
    images, labels, ids = _read_all(folder, split, facts.get(name))
  except Exception as error:  # Riegeli, Pillow and TFDS have no one class.
    raise ValueError(
      f'{folder} is damaged ({type(error).__name__}: {str(error)[:200]}). '
      'Delete that folder: it is prepared again from the archive.'
    ) from error
  order = np.argsort(np.array(ids), kind='stable')
  return images[order], labels[order]


def _read_all(folder: pathlib.Path, split: str, known: facts.Facts):
  """Returns images, labels and ids, in the order of the files."""
  import logging

  import tensorflow_datasets as tfds

  # TFDS advises to install OpenCV at each read; Pillow is fast enough.
  logging.getLogger('absl').setLevel(logging.ERROR)
  source = tfds.builder_from_directory(folder).as_data_source(split)
  images = np.empty((len(source), *known.shape), np.uint8)
  labels = np.empty(len(source), np.int32)
  ids = []
  chunk = 4096
  for start in range(0, len(source), chunk):
    rows = range(start, min(start + chunk, len(source)))
    records = source.__getitems__(list(rows))
    for row, record in zip(rows, records, strict=True):
      images[row] = record['image']
      labels[row] = record['label']
      # SVHN 3.0.0 has no id: it keeps the order of its file.
      ids.append(record.get('id', b'%09d' % row))
  return images, labels, ids
