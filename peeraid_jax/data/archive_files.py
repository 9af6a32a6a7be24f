"""Files inside of an archive, and the error of an archive that is damaged.

What an archive unpacks to is limited before it is unpacked: a small file may
claim, and hold, any number of bytes.
"""

import gzip
import io
import pathlib
import tarfile
import zipfile
import zlib

import numpy as np

# Bytes of one file in a zip; lists and images of 64x64 pixels have less.
_MEMBER = 2**24
# Bytes of one image in a .tar; ImageNet's largest has 15 MB.
_IMAGE = 2**26
# The type of an element of a MATLAB file that zlib has compressed.
_COMPRESSED = 15
# Bytes that are decompressed at once.
_CHUNK = 2**20


def unexpected(path: pathlib.Path, expected: str) -> ValueError:
  """Returns the error of an archive that is damaged, or is another one.

  Args:
    path: path of the archive.
    expected: what it should be, or what is wrong with it.
  """
  return ValueError(
    f'{path} is not what was expected: {expected}. Delete it and put the '
    'original file there.'
  )


def read_tar_gz(
  path: pathlib.Path, names: list[str], *, limit: int
) -> list[bytes]:
  """Reads files of a .tar.gz, all of which is decompressed for its checksum.

  Args:
    path: path of the archive.
    names: names of the files, without their folders.
    limit: largest number of bytes that the archive may unpack to.

  Returns:
    Their contents.

  Raises:
    ValueError: the archive is damaged, too large, or has no such file.
  """
  try:
    with gzip.open(path) as file:
      content = file.read(limit + 1)
      # At the end, gzip compares the checksum of what it has read.
      if len(content) > limit:
        raise unexpected(path, f'it unpacks to more than {limit:,} bytes')
    with tarfile.open(fileobj=io.BytesIO(content), mode='r:') as archive:
      members = {pathlib.PurePath(m.name).name: m for m in archive}
      for name in names:
        member = members.get(name)
        # The holes of sparse files have any size.
        if member is None or not member.isfile() or member.issparse():
          raise unexpected(path, f'it holds no {name}')
      return [archive.extractfile(members[name]).read() for name in names]
  except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
    raise unexpected(path, f'a readable .tar.gz ({error})') from error


def check_mat(path: pathlib.Path, *, limit: int) -> None:
  """Checks the compressed parts of a MATLAB file of version 5.

  SciPy would decompress any number of bytes.

  Args:
    path: path of the file.
    limit: largest number of bytes that all parts may have together.

  Raises:
    ValueError: they are damaged or too large, or the file is another one.
  """
  size = 0
  with path.open('rb') as file:
    header = file.read(128)
    if len(header) < 128 or header[124:128] != b'\0\1IM':
      raise unexpected(path, 'a MATLAB file with X and y, of version 5')
    while tag := file.read(8):
      kind = int.from_bytes(tag[:4], 'little')
      left = int.from_bytes(tag[4:], 'little')
      if kind != _COMPRESSED:
        size += left
        file.seek(left, io.SEEK_CUR)
      else:
        size += _inflated(path, file, left, limit - size)
      if size > limit:
        raise unexpected(path, f'it unpacks to more than {limit:,} bytes')


def _inflated(path: pathlib.Path, file, left: int, limit: int) -> int:
  """Returns the decompressed size of the next `left` bytes of a file.

  It stops soon after `limit` bytes.

  Raises:
    ValueError: they are damaged; zlib's checksum does not match.
  """
  inflater, size = zlib.decompressobj(), 0
  try:
    while size <= limit and not inflater.eof:
      compressed = inflater.unconsumed_tail
      if not compressed:
        compressed = file.read(min(left, _CHUNK))
        left -= len(compressed)
      found = len(inflater.decompress(compressed, _CHUNK))
      if not (found or compressed or inflater.eof):
        raise zlib.error('it ends too early')
      size += found
  except zlib.error as error:
    raise unexpected(path, f'a readable MATLAB file ({error})') from error
  file.seek(left, io.SEEK_CUR)
  return size


def check_labels(
  path: pathlib.Path, name: str, labels: np.ndarray, low: int, high: int
) -> None:
  """Checks that labels are whole numbers in [low, high].

  Args:
    path: path of the archive.
    name: name of the file in it that has the labels.
    labels: [N].
    low, high: smallest and largest label.

  Raises:
    ValueError: one is not; names its place in that file.
  """
  wrong = np.flatnonzero(~np.isin(labels, np.arange(low, high + 1)))
  if len(wrong):
    raise unexpected(
      path,
      f'labels in {name} should be between {low} and {high}, and that of '
      f'image {wrong[0]} is {labels[wrong[0]]}',
    )


def read_member(archive, member, path: pathlib.Path) -> bytes:
  """Returns the content of a member of a .tar of images.

  Args:
    archive: the open .tar.
    member: its member.
    path: path of the archive, for the error message.

  Raises:
    ValueError: it is no file, or is too large.
  """
  if not member.isfile() or member.size > _IMAGE:
    raise unexpected(
      path,
      f'{member.name} should be an image of at most {_IMAGE:,} '
      f'bytes; it has {member.size:,}',
    )
  return archive.extractfile(member).read()


class Tree:
  """Files by name: of a zip, or of the folder that it unpacks to.

  Args:
    path: the zip; or the unpacked folder, or the folder that holds it.
    root: the one folder in the zip that holds everything.
    size: size of the complete zip, for the error message.

  Attributes:
    path: the same path.
    names: paths of all files, relative to `root`.

  Raises:
    ValueError: the zip is damaged, or is no zip.
  """

  def __init__(self, path: pathlib.Path, root: str, *, size: str):
    self.path = path
    if path.is_dir():
      self._zip = None
      inner = path / root
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
      raise unexpected(
        path,
        f'a complete zip of {size} ({error}; was the download interrupted?)',
      ) from error
    self._root = f'{root}/'
    self.names = [
      n.removeprefix(self._root)
      for n in dict.fromkeys(self._zip.namelist())
      if n.startswith(self._root) and not n.endswith('/')
    ]

  def read(self, name: str) -> bytes:
    """Returns the content of a file.

    Args:
      name: path relative to `root`.

    Raises:
      ValueError: the file is missing, damaged or too large.
    """
    try:
      size = self._size(name)
      if size <= _MEMBER:
        if self._zip is None:
          return (self._root / name).read_bytes()
        return self._zip.read(self._root + name)
    except (KeyError, FileNotFoundError):
      raise unexpected(self.path, f'it holds no {name}') from None
    except Exception as error:  # zlib.error, BadZipFile, OSError, ...
      raise unexpected(self.path, f'{name} is damaged ({error})') from error
    raise unexpected(
      self.path, f'{name} has {size:,} bytes, more than {_MEMBER:,}'
    )

  def _size(self, name: str) -> int:
    """Returns the size of a file, in bytes when it is decompressed."""
    if self._zip is None:
      return (self._root / name).stat().st_size
    return self._zip.getinfo(self._root + name).file_size
