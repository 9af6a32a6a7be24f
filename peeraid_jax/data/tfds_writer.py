"""Prepares data sets: writes their archives as TFDS would, without TensorFlow.

TFDS's own builders need TensorFlow to encode images and to open archives. The
files written here are those that TFDS's builder of that name would write,
except that CIFAR-100 has no coarse labels.
"""

import os
import pathlib

from peeraid_jax.data import facts


def prepare(
  name: str,
  entry: facts.Source,
  data_dir: str,
  *,
  archive: str = '',
  download: bool = False,
) -> None:
  """Writes a data set into a folder of prepared data sets.

  Args:
    name: name of the data set.
    entry: its record.
    data_dir: folder of prepared data sets; archives in it are used.
    archive: path of the archive, or of the folder that it unpacks to, if it
      lies elsewhere.
    download: fetch the archives from their public address if they are
      missing.

  Raises:
    FileNotFoundError: the archives are missing and are not to be downloaded.
    ValueError: an archive is damaged or another one.
    PermissionError: `data_dir` cannot be written.
  """
  paths = _find_archives(entry, data_dir, archive)
  if paths is None and (entry.by_hand or not download):
    raise _missing(name, entry, data_dir)
  try:
    os.makedirs(data_dir, exist_ok=True)
    if not os.access(data_dir, os.W_OK):
      raise PermissionError
  except PermissionError:
    raise PermissionError(
      f'cannot write the prepared {name} into data.dir={data_dir}; name '
      'another folder with --config.data.dir=DIR'
    ) from None
  _builder(name, entry, data_dir, paths).download_and_prepare()


def _find_archives(
  entry: facts.Source, data_dir: str, archive: str
) -> list[pathlib.Path] | None:
  """Returns the paths of the archives to prepare from; None if missing."""
  names = entry.archives
  if archive:
    path = pathlib.Path(archive)
    if not path.exists():
      raise FileNotFoundError(
        f'data.source={archive} does not exist; it should be '
        f'{" and ".join(names)}, or the folder that holds it'
      )
    if path.is_file():
      return [path]
    inside = [path / name for name in names]
    return inside if all(p.exists() for p in inside) else [path]
  # TFDS expects archives that were downloaded by hand in downloads/manual.
  for folder in (data_dir, pathlib.Path(data_dir) / 'downloads' / 'manual'):
    paths = [pathlib.Path(folder) / name for name in names]
    if all(p.exists() for p in paths):
      return paths
  unpacked = pathlib.Path(data_dir) / names[0].removesuffix('.zip')
  if names[0].endswith('.zip') and unpacked.is_dir():
    return [unpacked]
  return None


def _missing(
  name: str, entry: facts.Source, data_dir: str
) -> FileNotFoundError:
  """Returns the error that says what to download and where to put it."""
  files = ' and '.join(entry.url + a for a in entry.archives)
  download = ''
  if not entry.by_hand:
    download = (
      'let the program download it with --config.data.download=True; or '
    )
  return FileNotFoundError(
    f'{name} is not in {data_dir} (data.dir). Either download {files} '
    f'({entry.size}) into that folder, it is prepared at the next start; or '
    f'{download}name the folder of an existing TFDS copy with '
    '--config.data.dir=DIR or TFDS_DATA_DIR.'
  )


def _builder(
  name: str,
  entry: facts.Source,
  data_dir: str,
  paths: list[pathlib.Path] | None,
):
  """Returns a TFDS builder that writes the examples of an archive reader.

  Args:
    name: name of the data set.
    entry: its record.
    data_dir: folder of prepared data sets.
    paths: the archives; None downloads them.
  """
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered

  image = tfds.features.Image(shape=entry.shape, encoding_format='png')
  if not entry.shape[0]:
    image = tfds.features.Image(encoding_format='jpeg')
  features = {
    entry.id_feature: tfds.features.Text(),
    'image': image,
    'label': tfds.features.ClassLabel(num_classes=entry.num_classes),
  }

  def info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def split_generators(self, dl_manager):
    files = paths
    if files is None:
      urls = {a: entry.url + a for a in entry.archives}
      files = _with_names(dl_manager.download(urls))
    return {
      entry.test_split if s == 'test' else s: self._generate_examples(files, s)
      for s in ('train', 'test')
    }

  def generate_examples(self, files, split):
    for key, image, label in entry.read_archives(name, files, split):
      yield key, {entry.id_feature: key, 'image': image, 'label': label}

  # The class is named after the folder: TFDS derives the folder from it.
  with registered.skip_registration():
    builder = type(
      ''.join(p.title() for p in entry.tfds.split('_')),
      (tfds.core.GeneratorBasedBuilder,),
      {
        'VERSION': tfds.core.Version(entry.version),
        '_info': info,
        '_split_generators': split_generators,
        '_generate_examples': generate_examples,
        '__module__': __name__,
      },
    )
  return builder(data_dir=data_dir, file_format='array_record')


def _with_names(downloads: dict[str, os.PathLike]) -> list[pathlib.Path]:
  """Links downloads, which TFDS names by hashes, to their own file names."""
  paths = []
  for name, path in downloads.items():
    link = pathlib.Path(path).parent / name
    if not link.exists():
      os.link(path, link)
    paths.append(link)
  return paths
