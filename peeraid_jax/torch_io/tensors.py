"""Tensors of a PyTorch file, as its pickle describes them.

PyTorch stores the numbers of a tensor apart from its description: a storage
holds a flat row of numbers, and a tensor is a strided view of a storage.
"""

import collections
import dataclasses
import math

import ml_dtypes
import numpy as np

_STORAGE_DTYPES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'ComplexDoubleStorage': np.complex128,
  'ComplexFloatStorage': np.complex64,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
  'UntypedStorage': np.uint8,
  # Of quantised tensors, which are not read themselves.
  'QInt8Storage': np.int8,
  'QUInt8Storage': np.uint8,
  'QInt32Storage': np.int32,
}
_ELEMENT_DTYPES = {
  'float64': np.float64,
  'float32': np.float32,
  'float16': np.float16,
  'bfloat16': ml_dtypes.bfloat16,
  'float8_e4m3fn': ml_dtypes.float8_e4m3fn,
  'float8_e4m3fnuz': ml_dtypes.float8_e4m3fnuz,
  'float8_e5m2': ml_dtypes.float8_e5m2,
  'float8_e5m2fnuz': ml_dtypes.float8_e5m2fnuz,
  'complex128': np.complex128,
  'complex64': np.complex64,
  'int64': np.int64,
  'int32': np.int32,
  'int16': np.int16,
  'int8': np.int8,
  'uint64': np.uint64,
  'uint32': np.uint32,
  'uint16': np.uint16,
  'uint8': np.uint8,
  'bool': np.bool_,
}
# PyTorch's own limit is twice that; NumPy 1 has this one.
_MAX_AXES = 32


class ElementType(collections.namedtuple('ElementType', 'name')):
  """The type of a storage or of a tensor's elements, by its name in PyTorch.

  A tuple, so that a pickle cannot change it.
  """

  @classmethod
  def exists(cls, name: str) -> bool:
    """Whether PyTorch has an element type or a storage of that name."""
    return name in _STORAGE_DTYPES or name in _ELEMENT_DTYPES

  @property
  def is_storage(self) -> bool:
    """Whether it is the type of a storage, not of a tensor's elements."""
    return self.name in _STORAGE_DTYPES

  @property
  def dtype(self) -> np.dtype:
    """The type in NumPy."""
    return np.dtype(
      _STORAGE_DTYPES.get(self.name) or _ELEMENT_DTYPES[self.name]
    )


@dataclasses.dataclass(eq=False)
class Storage:
  """A flat row of numbers.

  Attributes:
    dtype: of the numbers.
    count: how many they are.
    array: the numbers [count]; None until they have been read, since the
      older format puts them behind the tensors that use them.
  """

  dtype: np.dtype
  count: int
  array: np.ndarray | None = None

  def fill(self, raw: bytes, little_endian: bool) -> None:
    """Sets the numbers, in this machine's byte order.

    Raises:
      ValueError: they are not as many as there should be.
    """
    if len(raw) != self.count * self.dtype.itemsize:
      raise ValueError(
        f'a storage has {len(raw)} bytes, and should have {self.count} '
        f'numbers of type {self.dtype.name}'
      )
    if not little_endian:
      # Swaps bytes as unsigned integers: bfloat16 has no big-endian NumPy
      # type. A complex number is two numbers.
      parts = 2 if self.dtype.kind == 'c' else 1
      unsigned = np.dtype(f'u{self.dtype.itemsize // parts}')
      raw = np.frombuffer(raw, unsigned).byteswap().tobytes()
    self.array = np.frombuffer(raw, self.dtype)


@dataclasses.dataclass(eq=False)
class Tensor:
  """A tensor of a file, as a view of a storage.

  Attributes:
    storage: holds the numbers.
    offset: index of the first element in the storage.
    shape: of the tensor.
    strides: distance in the storage between neighbours along each axis,
      counted in elements.
    dtype: of the elements, if it is not that of the storage.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  dtype: np.dtype | None = None

  def array(self) -> np.ndarray:
    """Returns the tensor as a read-only view of its storage.

    Raises:
      ValueError: the view reaches outside of its storage.
    """
    flat = self.storage.array
    if flat is None:
      raise ValueError('the file ends before the numbers of a tensor')
    if self.dtype is not None:
      if flat.nbytes % self.dtype.itemsize:
        raise ValueError(
          f'{flat.nbytes} bytes are not numbers of type {self.dtype.name}'
        )
      flat = flat.view(self.dtype)
    layout = (self.offset, *self.shape, *self.strides)
    if len(self.shape) != len(self.strides) or not all(map(_is_size, layout)):
      raise ValueError(
        'a tensor of shape, strides and offset '
        f'{self.shape}, {self.strides}, {self.offset} is damaged'
      )
    count = math.prod(self.shape)
    last = self.offset + sum(
      (size - 1) * stride
      for size, stride in zip(self.shape, self.strides, strict=True)
    )
    # A view that repeats numbers (stride 0) can be far larger than the file,
    # and no parameter of a network is one.
    if count and (last >= len(flat) or count > len(flat)):
      raise ValueError(
        f'a tensor of shape {self.shape} does not fit into its {len(flat)} '
        'numbers'
      )
    if not count:
      return np.zeros(self.shape, flat.dtype)
    return np.ndarray(
      self.shape,
      flat.dtype,
      flat.view(np.uint8),
      flat.itemsize * self.offset,
      [flat.itemsize * stride for stride in self.strides],
    )


def _is_size(value) -> bool:
  return isinstance(value, int) and 0 <= value < 2**63


def strided(storage, offset, shape, strides, dtype=None) -> Tensor:
  """Builds a tensor from the arguments that PyTorch's pickles give.

  Raises:
    ValueError: the first argument is not a storage, or others are no sizes.
  """
  if not isinstance(storage, Storage):
    raise ValueError('a tensor has no storage')
  for sizes in (shape, strides):
    if not isinstance(sizes, list | tuple) or len(sizes) > _MAX_AXES:
      raise ValueError(f'a tensor has no shape, or more than {_MAX_AXES} axes')
  if not all(map(_is_size, (offset, *shape, *strides))):
    raise ValueError('the sizes of a tensor should be whole numbers from 0 on')
  return Tensor(storage, offset, tuple(shape), tuple(strides), dtype)
