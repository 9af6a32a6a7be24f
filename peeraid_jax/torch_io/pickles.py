"""Reads files of `torch.save`, without PyTorch and without running them.

A file of `torch.save` is a pickle with the numbers of its tensors beside it,
in one of two formats:

* a zip archive, since PyTorch 1.6: the pickle is `data.pkl`, and `data/<key>`
  holds the numbers of a storage;
* before that, one file: several pickles, then the numbers of all storages.

`objects` says why a hostile file can do no harm.
"""

import io
import os
import zipfile
from typing import Any, BinaryIO

from peeraid_jax.torch_io import objects, tensors, unpickler

Tensor = tensors.Tensor
Inert = objects.Inert

# The first two pickles of the older format.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
# Before each member of a zip archive; its name, of any length, follows.
_ZIP_HEADER = 30
_ENCRYPTED = 0x1
_AGAIN = '; copy it again, or save the state dict again'


def _is_pickle(name: str) -> bool:
  return name == 'data.pkl' or name.endswith('/data.pkl')


class _Members:
  """The members of a zip archive that `torch.save` wrote, in its one folder.

  Args:
    archive: the zip archive.
    size: of its file, in bytes.
  """

  def __init__(self, archive: zipfile.ZipFile, size: int):
    self._archive = archive
    self._infos = {info.filename: info for info in archive.infolist()}
    if len(self._infos) != len(archive.infolist()):
      raise ValueError('the zip archive has several members of one name')
    roots = [n.removesuffix('data.pkl') for n in self._infos if _is_pickle(n)]
    if len(roots) != 1:
      raise ValueError(
        'a zip archive, but not one of torch.save: it has '
        f'{len(roots)} members data.pkl, and should have one'
      )
    self._root = roots[0]
    self._check_places(size)

  def _check_places(self, size: int) -> None:
    """Checks that members lie in the file, and do not share bytes of it."""
    free = 0
    for info in sorted(self._infos.values(), key=lambda i: i.header_offset):
      end = info.header_offset + _ZIP_HEADER + info.compress_size
      if info.header_offset < free or end > size:
        raise ValueError('members of the zip archive overlap, or reach outside')
      free = end

  def __contains__(self, name: str) -> bool:
    return self._root + name in self._infos

  def read(self, name: str) -> bytes:
    """Returns the content of a member.

    Raises:
      ValueError: it is missing or damaged, or `torch.save` did not write it.
    """
    info = self._infos.get(self._root + name)
    if info is None:
      raise ValueError(f'{name[:80]} is missing in it')
    # A compressed member could be far larger than the file.
    if info.compress_type != zipfile.ZIP_STORED:
      raise ValueError(f'{name} is compressed in it; torch.save does not do so')
    if info.flag_bits & _ENCRYPTED:
      raise ValueError(f'{name} is encrypted in it; torch.save does not do so')
    if info.file_size != info.compress_size:
      raise ValueError(f'{name} is not compressed, but has two sizes')
    return self._archive.read(info)


def _read_zip(file: BinaryIO) -> Any:
  """Reads the format that PyTorch writes since 1.6."""
  with zipfile.ZipFile(file) as archive:
    members = _Members(archive, os.fstat(file.fileno()).st_size)
    storages: dict[str, tensors.Storage] = {}
    pickled = io.BytesIO(members.read('data.pkl'))
    content = unpickler.Unpickler(pickled, storages).load()
    order = b'little'
    if 'byteorder' in members:
      order = members.read('byteorder')
    if order not in (b'little', b'big'):
      raise ValueError(f'byteorder is {order[:20]!r}, not little or big')
    for key, storage in storages.items():
      storage.fill(members.read(f'data/{key}'), order == b'little')
  return content


def _load_plain(file: BinaryIO, part: str) -> Any:
  """Loads a pickle that holds no tensors."""
  try:
    return unpickler.Unpickler(file, {}).load()
  except ValueError as error:
    raise ValueError(f'its {part} cannot be read: {error}') from error


def _read_legacy(file: BinaryIO) -> Any:
  """Reads the format that PyTorch wrote before 1.6."""
  size = os.fstat(file.fileno()).st_size
  if (
    _load_plain(file, 'beginning') != _MAGIC_NUMBER
    or _load_plain(file, 'version') != _PROTOCOL_VERSION
  ):
    raise ValueError('it does not begin as a file of torch.save does')
  system = _load_plain(file, 'system')
  little_endian = not isinstance(system, dict) or bool(
    system.get('little_endian', True)
  )
  storages: dict[str, tensors.Storage] = {}
  content = unpickler.Unpickler(file, storages).load()
  keys = _load_plain(file, 'list of storages')
  if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
    raise ValueError('its list of storages should be a list of texts')
  for key in keys:
    storage = storages.get(key)
    if storage is None:
      raise ValueError(f'no tensor uses its storage {key[:80]!r}')
    begin = file.read(8)
    count = int.from_bytes(begin, 'little' if little_endian else 'big')
    length = count * storage.dtype.itemsize
    if len(begin) < 8 or length > size - file.tell():
      raise ValueError('it ends too early')
    storage.fill(file.read(length), little_endian)
  return content


def _hint(file: BinaryIO) -> str:
  """Says what to do about a file that does not begin as torch.save's do."""
  file.seek(0)
  start = file.read(512)
  if start.lstrip().startswith(b'<'):
    return '; it is a web page: the download went wrong'
  if start.startswith(b'PK'):
    return f'; it is the beginning of a zip archive{_AGAIN}'
  if start[257:262] == b'ustar':
    return (
      '; it is a tar archive, as PyTorch wrote before 0.1.10: save it again '
      'by a newer PyTorch'
    )
  if start[8:10] == b'{"':
    return '; it looks like safetensors: its name should end in .safetensors'
  return _AGAIN


def read(file: BinaryIO) -> Any:
  """Returns the object that was saved, with a `Tensor` for each tensor.

  Objects other than tensors and containers are replaced by `Inert`.

  Args:
    file: of `torch.save`, in its zip or its older format, opened by
      `sources.opened`.

  Raises:
    ValueError: it is damaged, or `torch.save` did not write it.
    MemoryError, OSError: it cannot be read now.
  """
  is_zip = zipfile.is_zipfile(file)
  file.seek(0)
  try:
    return _read_zip(file) if is_zip else _read_legacy(file)
  except (MemoryError, OSError):
    raise
  except Exception as error:  # Damaged archives raise errors of any type.
    kind = type(error).__name__
    reason = '' if kind == 'ValueError' else f'{kind}: '
    raise ValueError(
      'cannot be read as a file of torch.save '
      f'({reason}{str(error)[:300]}){_AGAIN if is_zip else _hint(file)}'
    ) from error
