"""Prepares data sets: writes their archives as TFDS would, without TensorFlow.

TFDS's own builders need TensorFlow to encode images and to open archives. The
files written here are those that TFDS's builder of that name would write,
except that CIFAR-100 has no coarse labels.
"""

import contextlib
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from peeraid_jax.data import checksums, facts, lock, notes, prepared


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
  folder = pathlib.Path(data_dir)
  with lock.held(
    folder / f'.peeraid_{entry.tfds}.lock', f'prepares {name} in {data_dir}'
  ) as alone:
    # While this process waited, another one may have prepared the data set.
    if prepared.folder_of(entry, data_dir):
      return
    if paths is not None:
      checksums.check(entry, paths, folder / entry.tfds, downloaded=False)
    with _workspace(folder, entry, alone=alone) as workspace:
      notes.say(f'preparing {name} in {data_dir}, which is done once')
      builder = _builder(name, entry, folder, workspace, paths)
      # Downloads stay if the preparation fails.
      downloads = (folder if paths is None else workspace) / 'downloads'
      # TFDS would print that the data set is in the workspace.
      with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=downloads)
      _move(workspace, folder, entry)


@contextlib.contextmanager
def _workspace(
  folder: pathlib.Path, entry: facts.Source, *, alone: bool
) -> Iterator[pathlib.Path]:
  """Context of a new folder to prepare a data set in.

  Args:
    folder: of prepared data sets; the new one is in it.
    entry: record of the data set.
    alone: no other process prepares this data set: folders that killed ones
      have left are removed.
  """
  prefix = f'.peeraid_{entry.tfds}.preparing_'
  if alone:
    for left in folder.glob(f'{prefix}*'):
      # Removes no folder that a link leads to.
      shutil.rmtree(left, ignore_errors=True)
  with tempfile.TemporaryDirectory(
    prefix=prefix, dir=folder, ignore_cleanup_errors=True
  ) as workspace:
    yield pathlib.Path(workspace)


def _move(
  workspace: pathlib.Path, folder: pathlib.Path, entry: facts.Source
) -> None:
  """Moves a data set to where it is read, whole or not at all.

  Raises:
    FileExistsError: there is a folder of that name, which is incomplete.
  """
  (folder / entry.tfds).mkdir(exist_ok=True)
  target = folder / entry.tfds / entry.version
  try:
    (workspace / entry.tfds / entry.version).rename(target)
  except OSError:
    # On a file system without locks, another process may have been faster.
    if prepared.folder_of(entry, str(folder)):
      return
    if not target.exists():
      raise
    raise FileExistsError(
      f'{target} is incomplete (it has no dataset_info.json): delete it, '
      'then the data set is prepared again'
    ) from None


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
  folder: pathlib.Path,
  workspace: pathlib.Path,
  paths: list[pathlib.Path] | None,
):
  """Returns a TFDS builder that writes the examples of an archive reader.

  Args:
    name: name of the data set.
    entry: its record.
    folder: of prepared data sets.
    workspace: where to write it.
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
      files = _download(dl_manager, entry, folder / entry.tfds)
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
  return builder(data_dir=workspace, file_format='array_record')


def _download(
  dl_manager, entry: facts.Source, folder: pathlib.Path
) -> list[pathlib.Path]:
  """Downloads the archives of a data set, under their own file names.

  Args:
    dl_manager: of TFDS, which keeps downloads and names them by hashes.
    entry: record of the data set.
    folder: of the data set, in which checksums are recorded.

  Raises:
    OSError: they cannot be downloaded, or TFDS knows other checksums.
    ValueError: they are others than those that are published.
  """
  urls = {a: entry.url + a for a in entry.archives}
  try:
    downloads = dl_manager.download(urls)
  except Exception as error:  # TFDS, requests and urllib3 raise many classes.
    raise OSError(
      f'{" and ".join(urls.values())} cannot be downloaded '
      f'({type(error).__name__}: {str(error)[:300]})'
    ) from error
  links = []
  for name, path in downloads.items():
    link = pathlib.Path(path).parent / name
    link.unlink(missing_ok=True)
    os.link(path, link)
    links.append(link)
  try:
    checksums.check(entry, links, folder, downloaded=True)
  except ValueError:
    # Otherwise the next download would take them again.
    for path in [*downloads.values(), *links]:
      for file in (path, f'{path}.INFO'):
        pathlib.Path(file).unlink(missing_ok=True)
    raise
  return links
