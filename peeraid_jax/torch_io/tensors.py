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
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
  'UntypedStorage': np.uint8,
}
_ELEMENT_DTYPES = {
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


class ElementType(collections.namedtuple('ElementType', 'name')):
  """The type of a storage or of a tensor's elements, by its name in PyTorch.

  A tuple, so that a pickle cannot change it.
  """

  @classmethod
  def exists(cls, name: str) -> bool:
    """Whether PyTorch has an element type or a storage of that name."""
    return name in _STORAGE_DTYPES or name in _ELEMENT_DTYPES

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
    array: the numbers [count]; None until they have been read, since the
      older format puts them behind the tensors that use them.
  """

  dtype: np.dtype
  array: np.ndarray | None = None


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
    """Returns a copy of the tensor as a NumPy array.

    Raises:
      ValueError: the view reaches outside of its storage.
    """
    flat = self.storage.array
    if flat is None:
      raise ValueError('the file ends before the numbers of a tensor')
    if self.dtype is not None:
      flat = flat.view(self.dtype)
    layout = (self.offset, *self.shape, *self.strides)
    valid = all(isinstance(v, int) and v >= 0 for v in layout)
    if not valid or len(self.shape) != len(self.strides):
      raise ValueError(f'a tensor of shape {self.shape!r} is damaged')
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
    byte_strides = [flat.itemsize * stride for stride in self.strides]
    view = np.lib.stride_tricks.as_strided(
      flat[self.offset :], self.shape, byte_strides, writeable=False
    )
    return view.copy()


def strided(storage, offset, shape, strides, dtype=None) -> Tensor:
  """Builds a tensor from the arguments that PyTorch's pickles give.

  Raises:
    ValueError: the first argument is not a storage.
  """
  if not isinstance(storage, Storage):
    raise ValueError('a tensor has no storage')
  return Tensor(storage, offset, tuple(shape), tuple(strides), dtype)
