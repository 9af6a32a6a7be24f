"""Reads files of `torch.save`, without PyTorch and without running them.

A file of `torch.save` is a pickle with the numbers of its tensors beside it,
in one of two formats:

* a zip archive, since PyTorch 1.6: the pickle is `data.pkl`, and `data/<key>`
  holds the numbers of a storage;
* before that, one file: several pickles, then the numbers of all storages.

`unpickler` says why a hostile file can do no harm.
"""

import io
import pathlib
import zipfile
from typing import Any

import numpy as np

from peeraid_jax.torch_io import tensors, unpickler

Tensor = tensors.Tensor
Inert = unpickler.Inert

# The first two pickles of the older format.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001


def _decode(raw: bytes, dtype: np.dtype, little_endian: bool) -> np.ndarray:
  """Returns the numbers of a storage in this machine's byte order."""
  if dtype.itemsize == 1 or little_endian:
    return np.frombuffer(raw, dtype)
  # Swaps bytes as unsigned integers: bfloat16 has no big-endian NumPy type.
  big = {2: '>u2', 4: '>u4', 8: '>u8'}[dtype.itemsize]
  native = np.frombuffer(raw, big).astype(big.replace('>', '='))
  return native.view(dtype)


def _is_pickle(name: str) -> bool:
  return name == 'data.pkl' or name.endswith('/data.pkl')


def _read_zip(path: pathlib.Path):
  """Reads the format that PyTorch writes since 1.6."""
  with zipfile.ZipFile(path) as archive:
    members = {info.filename: info for info in archive.infolist()}
    roots = [n.removesuffix('data.pkl') for n in members if _is_pickle(n)]
    if len(roots) != 1:
      raise ValueError('a zip archive, but not one of torch.save')

    def read_member(name: str) -> bytes:
      info = members.get(roots[0] + name)
      if info is None:
        raise ValueError(f'{name} is missing in it')
      # torch.save does not compress. A compressed member could be far larger
      # than the file.
      if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed in it')
      return archive.read(info)

    storages: dict[Any, tensors.Storage] = {}
    pickled = io.BytesIO(read_member('data.pkl'))
    content = unpickler.Unpickler(pickled, storages).load()
    little_endian = True
    if roots[0] + 'byteorder' in members:
      little_endian = read_member('byteorder') != b'big'
    for key, storage in storages.items():
      raw = read_member(f'data/{key}')
      storage.array = _decode(raw, storage.dtype, little_endian)
  return content


def _read_legacy(path: pathlib.Path):
  """Reads the format that PyTorch wrote before 1.6."""
  size = path.stat().st_size
  with path.open('rb') as file:

    def load_plain(part: str):
      """Loads a pickle that holds no tensors."""
      try:
        return unpickler.Unpickler(file, {}).load()
      except Exception as error:  # Damaged pickles raise errors of any type.
        raise ValueError(f'its {part} cannot be read') from error

    if (
      load_plain('beginning') != _MAGIC_NUMBER
      or load_plain('version') != _PROTOCOL_VERSION
    ):
      raise ValueError('it does not begin as a file of torch.save does')
    system = load_plain('system')
    little_endian = not isinstance(system, dict) or system.get(
      'little_endian', True
    )
    storages: dict[Any, tensors.Storage] = {}
    content = unpickler.Unpickler(file, storages).load()
    for key in load_plain('list of storages'):
      if key not in storages:
        raise ValueError(f'no tensor uses its storage {key!r}')
      dtype = storages[key].dtype
      count = int.from_bytes(file.read(8), 'little' if little_endian else 'big')
      if count * dtype.itemsize > size - file.tell():
        raise ValueError('it ends too early')
      raw = file.read(count * dtype.itemsize)
      storages[key].array = _decode(raw, dtype, little_endian)
  return content


def read(path) -> Any:
  """Returns the object that was saved, with a `Tensor` for each tensor.

  Objects other than tensors and containers are replaced by `Inert`.

  Args:
    path: a file of `torch.save`, in its zip or its older format.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is damaged, or `torch.save` did not write it.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  try:
    if zipfile.is_zipfile(path):
      return _read_zip(path)
    return _read_legacy(path)
  except Exception as error:  # Damaged pickles raise errors of any type.
    hint = ''
    with path.open('rb') as file:
      start = file.read(200)
    if start.lstrip().startswith(b'<'):
      hint = '; it is a web page: the download went wrong'
    raise ValueError(
      f'{path} cannot be read as a file of torch.save '
      f'({type(error).__name__}: {str(error)[:200]}){hint}'
    ) from error
