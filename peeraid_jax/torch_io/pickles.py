"""Files of PyTorch, read without PyTorch and without running what is in them.

`torch.save` pickles: a pickle names classes and calls them. Here each name
that is not that of a tensor's parts stands for an inert object, which keeps
what it is given and does nothing; so checkpoints with optimizers, arguments
or whole modules are read as far as their arrays go, and a hostile file calls
nothing.

Reference:
  The two formats of PyTorch: zip archives (since 1.6), and before them
  pickles one after the other with the storages behind.
"""

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
  'UntypedStorage': np.uint8,
}
_DTYPES = {
  'float64': np.float64,
  'float32': np.float32,
  'float16': np.float16,
  'bfloat16': ml_dtypes.bfloat16,
  'int64': np.int64,
  'int32': np.int32,
  'int16': np.int16,
  'int8': np.int8,
  'uint8': np.uint8,
  'bool': np.bool_,
}


class _Type(collections.namedtuple('_Type', 'name')):
  """Stands for an element type; a tuple, so that nothing can be set on it."""

  @property
  def dtype(self) -> np.dtype:
    return np.dtype(_STORAGES.get(self.name) or _DTYPES[self.name])


@dataclasses.dataclass(eq=False)
class _Storage:
  """A row of numbers, which may come later in the file than its tensors."""

  dtype: np.dtype
  array: np.ndarray | None = None


@dataclasses.dataclass(eq=False)
class Tensor:
  """A tensor of a file; `array` makes it one of NumPy's."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  dtype: np.dtype | None = None

  def array(self) -> np.ndarray:
    """Returns a copy of the tensor's numbers.

    Raises:
      ValueError: it lies outside of its storage.
    """
    flat = self.storage.array
    if flat is None:
      raise ValueError('the file ends before the numbers of a tensor')
    if self.dtype is not None:
      flat = flat.view(self.dtype)
    whole = (self.offset, *self.shape, *self.strides)
    fine = all(isinstance(v, int) and v >= 0 for v in whole)
    if not fine or len(self.shape) != len(self.strides):
      raise ValueError(f'a tensor of shape {self.shape!r} is damaged')
    count = math.prod(self.shape)
    last = self.offset + sum(
      (size - 1) * stride
      for size, stride in zip(self.shape, self.strides, strict=True)
    )
    # A view that repeats its numbers is none of a network's parameters.
    if count and (last >= len(flat) or count > len(flat)):
      raise ValueError(
        f'a tensor of shape {self.shape} does not fit into its {len(flat)} '
        'numbers'
      )
    if not count:
      return np.zeros(self.shape, flat.dtype)
    bytes_apart = [flat.itemsize * stride for stride in self.strides]
    view = np.lib.stride_tricks.as_strided(
      flat[self.offset :], self.shape, bytes_apart, writeable=False
    )
    return view.copy()


class Inert:
  """Something of a pickle that is no tensor; it only keeps what it is given.

  Attributes:
    name: of its class, with the module.
    state: what it would have been restored from.
  """

  name = ''

  def __new__(cls, *args, **kwargs):
    del args, kwargs
    made = super().__new__(cls)
    made.state = None
    return made

  def __init__(self, *args, **kwargs):
    del args, kwargs

  def __setstate__(self, state):
    self.state = state

  def __setitem__(self, key, value):
    pass

  def append(self, value):
    pass

  def extend(self, values):
    pass

  add = append
  update = extend


def _strided(storage, offset, size, stride, dtype=None) -> Tensor:
  if not isinstance(storage, _Storage):
    raise ValueError('a tensor has no storage')
  return Tensor(storage, offset, tuple(size), tuple(stride), dtype)


class _Unpickler(pickle.Unpickler):
  """Makes tensors, containers and inert objects; nothing else.

  Args:
    file: of the pickle.
    storages: key -> storage; those that are met are added.
  """

  def __init__(self, file, storages: dict[Any, _Storage]):
    super().__init__(file, encoding='latin-1')
    self._storages = storages
    # Made anew for each file, so that none can change them for the next.
    self._known = {
      ('collections', 'OrderedDict'): collections.OrderedDict,
      ('torch', 'Size'): lambda sizes=(): tuple(sizes),
      ('torch._utils', '_rebuild_tensor'): lambda *a: _strided(*a[:4]),
      ('torch._utils', '_rebuild_tensor_v2'): lambda *a: _strided(*a[:4]),
      ('torch._utils', '_rebuild_tensor_v3'): lambda *a: _strided(
        *a[:4], a[6].dtype
      ),
      ('torch._utils', '_rebuild_parameter'): lambda data, *rest: data,
      ('torch._utils', '_rebuild_parameter_with_state'): (
        lambda data, *rest: data
      ),
    }
    self._inert: dict[tuple[str, str], type] = {}

  def find_class(self, module: str, name: str):
    if (module, name) in self._known:
      return self._known[module, name]
    if module in ('torch', 'torch.storage', 'torch.cuda') and (
      name in _STORAGES or name in _DTYPES
    ):
      return _Type(name)
    if (module, name) not in self._inert:
      self._inert[module, name] = type(
        'Inert', (Inert,), {'name': f'{module}.{name}'}
      )
    return self._inert[module, name]

  def persistent_load(self, pid) -> _Storage:
    kind, stored_as, key, _, count, *view = pid
    if kind != 'storage' or not isinstance(stored_as, _Type):
      raise ValueError(f'{kind!r} is not a part of a tensor')
    if any(view):
      raise ValueError('it is of a PyTorch before 0.4; save it again')
    del count
    if key not in self._storages:
      self._storages[key] = _Storage(stored_as.dtype)
    return self._storages[key]


def _numbers(raw: bytes, dtype: np.dtype, little: bool) -> np.ndarray:
  if dtype.itemsize == 1 or little:
    return np.frombuffer(raw, dtype)
  width = {2: '>u2', 4: '>u4', 8: '>u8'}[dtype.itemsize]
  native = np.frombuffer(raw, width).astype(width.replace('>', '='))
  return native.view(dtype)


def _read_zip(path: pathlib.Path):
  with zipfile.ZipFile(path) as archive:
    inside = {info.filename: info for info in archive.infolist()}
    roots = [n.removesuffix('data.pkl') for n in inside if _is_pickle(n)]
    if len(roots) != 1:
      raise ValueError('a zip archive, but not one of torch.save')

    def content(name: str) -> bytes:
      info = inside.get(roots[0] + name)
      if info is None:
        raise ValueError(f'{name} is missing in it')
      # torch.save does not compress: nothing in it is larger than the file.
      if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed in it')
      return archive.read(info)

    storages: dict[Any, _Storage] = {}
    found = _Unpickler(io.BytesIO(content('data.pkl')), storages).load()
    little = True
    if roots[0] + 'byteorder' in inside:
      little = content('byteorder') != b'big'
    for key, storage in storages.items():
      storage.array = _numbers(content(f'data/{key}'), storage.dtype, little)
  return found


def _is_pickle(name: str) -> bool:
  return name == 'data.pkl' or name.endswith('/data.pkl')


def _read_legacy(path: pathlib.Path):
  size = path.stat().st_size
  with path.open('rb') as file:

    def plain(what: str):
      try:
        return _Unpickler(file, {}).load()
      except Exception as error:  # Of bytes that are no pickle, anything.
        raise ValueError(f'its {what} cannot be read') from error

    if plain('beginning') != _MAGIC or plain('version') != _PROTOCOL:
      raise ValueError('it does not begin as a file of torch.save does')
    system = plain('system')
    little = not isinstance(system, dict) or system.get('little_endian', True)
    storages: dict[Any, _Storage] = {}
    found = _Unpickler(file, storages).load()
    for key in plain('list of storages'):
      if key not in storages:
        raise ValueError(f'nobody knows its storage {key!r}')
      dtype = storages[key].dtype
      count = int.from_bytes(file.read(8), 'little' if little else 'big')
      if count * dtype.itemsize > size - file.tell():
        raise ValueError('it ends too early')
      raw = file.read(count * dtype.itemsize)
      storages[key].array = _numbers(raw, dtype, little)
  return found


def read(path) -> Any:
  """Returns what `torch.save` was given, with a `Tensor` for each tensor.

  Args:
    path: a file of `torch.save`, in its zip or its older format.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is damaged, or none of `torch.save`'s.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  try:
    if zipfile.is_zipfile(path):
      return _read_zip(path)
    return _read_legacy(path)
  except Exception as error:  # A damaged pickle raises anything.
    hint = ''
    with path.open('rb') as file:
      start = file.read(200)
    if start.lstrip().startswith(b'<'):
      hint = '; it is a web page: the download went wrong'
    raise ValueError(
      f'{path} cannot be read as a file of torch.save '
      f'({type(error).__name__}: {str(error)[:200]}){hint}'
    ) from error
