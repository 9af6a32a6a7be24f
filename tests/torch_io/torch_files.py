"""Writes files as `torch.save` does, without PyTorch."""

import collections
import io
import pathlib
import pickle
import zipfile
from typing import NamedTuple

import numpy as np

_STORAGES = {
  'float64': 'DoubleStorage',
  'float32': 'FloatStorage',
  'float16': 'HalfStorage',
  'bfloat16': 'BFloat16Storage',
  'int64': 'LongStorage',
  'uint8': 'ByteStorage',
  'bool': 'BoolStorage',
}


class Named(NamedTuple):
  """The name of a class or function, as a pickle holds it."""

  module: str
  name: str

  def __call__(self):
    raise AssertionError('only the pickler needs this to be callable')


class Called:
  """An object that unpickling creates by a call, and by restoring a state."""

  def __init__(self, named: Named, *arguments, state=None):
    self.named, self.arguments, self.state = named, arguments, state


class _Stored:
  """A flat array that is saved beside the pickle, under a key."""

  def __init__(self, array, key):
    self.array, self.key = array, key


class _Pickler(pickle._Pickler):
  """Pickles arrays as PyTorch pickles tensors; collects their storages."""

  def __init__(self, file):
    super().__init__(file, protocol=2)
    self.storages = []

  def persistent_id(self, obj):
    if not isinstance(obj, _Stored):
      return None
    kind = Named('torch', _STORAGES[obj.array.dtype.name])
    return ('storage', kind, obj.key, 'cpu', obj.array.size)

  def _save_named(self, named):
    self.write(pickle.GLOBAL + f'{named.module}\n{named.name}\n'.encode())

  def _save_array(self, array):
    stored = _Stored(array.reshape(-1), str(len(self.storages)))
    self.storages.append(stored)
    strides = [s // array.itemsize for s in np.empty_like(array).strides]
    arguments = (stored, 0, array.shape, tuple(strides), False)
    self.save_reduce(
      Named('torch._utils', '_rebuild_tensor_v2'),
      (*arguments, collections.OrderedDict()),
    )

  def _save_called(self, called):
    self.save_reduce(called.named, called.arguments, called.state)

  dispatch = {  # noqa: RUF012
    **pickle._Pickler.dispatch,
    Named: _save_named,
    np.ndarray: _save_array,
    Called: _save_called,
  }


def pickled(content) -> tuple[bytes, list[_Stored]]:
  """Returns the pickle of some content, and the storages beside it."""
  file = io.BytesIO()
  pickler = _Pickler(file)
  pickler.dump(content)
  return file.getvalue(), pickler.storages


def write_zip(path, content, *, big: bool = False, deflated: bool = False):
  """Writes nested containers of arrays in the format since PyTorch 1.6."""
  path = pathlib.Path(path)
  operations, storages = pickled(content)
  order = '>' if big else '<'
  with zipfile.ZipFile(path, 'w') as archive:
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    archive.writestr('archive/data.pkl', operations, kind)
    archive.writestr('archive/byteorder', 'big' if big else 'little')
    for stored in storages:
      array = stored.array
      if array.dtype.name != 'bfloat16':
        array = array.astype(array.dtype.newbyteorder(order))
      archive.writestr(f'archive/data/{stored.key}', array.tobytes(), kind)
    archive.writestr('archive/version', '3\n')
  return path


def write_legacy(path, content):
  """Writes nested containers of arrays in the format before PyTorch 1.6."""
  path = pathlib.Path(path)
  operations, storages = pickled(content)
  with path.open('wb') as file:
    for part in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}):
      pickle.dump(part, file, protocol=2)
    file.write(operations)
    pickle.dump([stored.key for stored in storages], file, protocol=2)
    for stored in storages:
      file.write(stored.array.size.to_bytes(8, 'little'))
      file.write(stored.array.tobytes())
  return path
