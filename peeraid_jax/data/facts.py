"""The registry of data sets: what is known about each, by name.

One `Source` per data set holds everything: the facts (image shape, number of
classes and examples), where the data come from, and how they are loaded.
`builtin` has the records of this package's own data sets.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from peeraid_jax import registry
from peeraid_jax.data import splits


class Source(NamedTuple):
  """Everything that is known about a data set.

  There are two kinds. A data set with `load` loads itself. One without is
  prepared once from its public archives, as TFDS would, and is then read from
  the prepared files: it needs `tfds`, `version`, `archives`, `url` and
  `read_archives`.

  Attributes:
    shape: [H, W, C] of an image. H = W = 0: images have any size, and the
      option `image_size` says to which size they are scaled and cropped.
    num_classes: number of labels; 0: it is known only from the files.
    load: how a split becomes a `Dataset`. It is called as `load(split,
      **options)` with split 'train' or 'test' and the options of `data.load`.
      Returns images uint8 [N, H, W, C] (or a `Stored`) and labels [N] in
      [0, num_classes), always in the same order.
    train: number of training examples; 0: unknown.
    test: number of test examples; 0: unknown.
    class_names: names of the classes, in the order of the labels; empty:
      classes are called by their number.
    can_stream: images can stay on disk, to be decoded when they are needed.
    must_stream: there are too many images to hold them in memory.
    tfds: folder of the prepared files; TFDS's name of the data set if TFDS
      knows it, so that its copies can be used.
    version: version under which the files are prepared; TFDS's own.
    archives: file names of the public archives.
    url: public address of the folder that holds the archives.
    size: size of the download, for messages ('162 MiB').
    test_split: TFDS's name of the split that is the test set here.
    by_hand: the download needs an account, so only a person can do it.
    id_feature: TFDS's name of the feature that sorts into the original order.
    read_archives: reader of the archives, called as `read_archives(name,
      paths, split)`; yields (id, image, label) as in `archives`.
    sha256: SHA-256 of the archives, in their order, in hexadecimal digits;
      empty: none is published, and that of the first use is recorded.
  """

  shape: tuple[int, int, int]
  num_classes: int
  load: Callable[..., splits.Dataset] | None = None
  train: int = 0
  test: int = 0
  class_names: tuple[str, ...] = ()
  can_stream: bool = False
  must_stream: bool = False
  tfds: str = ''
  version: str = ''
  archives: tuple[str, ...] = ()
  url: str = ''
  size: str = ''
  test_split: str = 'test'
  by_hand: bool = False
  id_feature: str = 'id'
  read_archives: Callable[..., Iterator[tuple[str, Any, int]]] | None = None
  sha256: tuple[str, ...] = ()


SOURCES: registry.Registry[Source] = registry.Registry('data set')


def register(name: str, source: Source, *, replace: bool = False) -> None:
  """Adds a data set, which configs then name with `config.data.name`.

  Args:
    name: letters, digits, '_' and '-'.
    source: its facts, and how it is loaded.
    replace: allow a name that is taken.

  Raises:
    ValueError: the name is taken or has other characters; `source` says
      neither how to load the data nor which archives to prepare them from, or
      has not one checksum for each archive.
  """
  if source.load is None and not (
    source.tfds and source.version and source.archives and source.read_archives
  ):
    raise ValueError(
      f'data set {name!r} needs load=FUNCTION; or, to be prepared from '
      'archives, tfds, version, archives and read_archives'
    )
  if source.sha256 and len(source.sha256) != len(source.archives):
    raise ValueError(
      f'data set {name!r}: sha256 should have one checksum for each of '
      f'{len(source.archives)} archives, or none; it has {len(source.sha256)}'
    )
  SOURCES.register(name, source, replace=replace)


def get(name: str) -> Source:
  """Returns the record of a data set.

  Raises:
    ValueError: there is no data set of that name; lists the known ones.
  """
  return SOURCES.get(name)


def resolve(name: str, *, image_size: int = 0, num_classes: int = 0) -> Source:
  """Returns the record of a data set with its open facts filled in.

  Args:
    name: name of the data set.
    image_size: height and width, used where images have any size.
    num_classes: number of classes, used where the record does not know it.

  Returns:
    The record; `shape` and `num_classes` are those that networks see.

  Raises:
    ValueError: there is no data set of that name.
  """
  source = get(name)
  if not source.shape[0]:
    source = source._replace(shape=(image_size, image_size, source.shape[2]))
  return source._replace(num_classes=source.num_classes or num_classes)


def class_names(name: str, *, num_classes: int = 0) -> tuple[str, ...]:
  """Returns the names of the classes, in the order of the labels.

  Args:
    name: name of the data set.
    num_classes: as in `resolve`.

  Returns:
    The names; the numbers '0', '1', ... where the record has no names.

  Raises:
    ValueError: there is no data set of that name.
  """
  source = resolve(name, num_classes=num_classes)
  return source.class_names or tuple(map(str, range(source.num_classes)))
