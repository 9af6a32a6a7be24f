"""Reads and writes files of safetensors.

Such a file is the length of a header, the header as JSON, and the numbers of
all arrays. The library of safetensors checks all of that; this module adds the
types that NumPy does not have, and a header that is always the same.
"""

import json
import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

_DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'F8_E4M3': ml_dtypes.float8_e4m3fn,
  'F8_E5M2': ml_dtypes.float8_e5m2,
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U64': np.uint64,
  'U32': np.uint32,
  'U16': np.uint16,
  'U8': np.uint8,
  'BOOL': np.bool_,
  'C64': np.complex64,
}
# Of a network, the header has some hundred bytes for each array.
_MAX_HEADER = 16 * 2**20
_LENGTH = struct.Struct('<Q')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Makes an object of JSON, whose names have to be different."""
  found = dict(pairs)
  if len(found) != len(pairs):
    raise ValueError('a name stands in the header twice')
  return found


def _header(content: bytes) -> dict[str, Any]:
  """Returns the header of a file, as JSON."""
  (length,) = _LENGTH.unpack_from(content)
  start = _LENGTH.size
  return json.loads(content[start : start + length], object_pairs_hook=_unique)


def _array(name: str, tensor: Mapping[str, Any]) -> np.ndarray:
  """Returns one array, of an entry of `safetensors.deserialize`."""
  kind = tensor['dtype']
  if kind not in _DTYPES:
    raise ValueError(
      f'{name[:80]!r} is of type {kind}, and should be one of '
      f'{", ".join(_DTYPES)}'
    )
  flat = np.frombuffer(tensor['data'], _DTYPES[kind])
  return flat.reshape(tensor['shape'])


def read(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Returns the arrays of an open file, and its metadata.

  Raises:
    ValueError: it is damaged, or not of safetensors.
  """
  import safetensors

  try:
    size = os.fstat(file.fileno()).st_size
    beginning = file.read(_LENGTH.size)
    if len(beginning) < _LENGTH.size:
      raise ValueError('it is shorter than a header')
    (length,) = _LENGTH.unpack(beginning)
    most = min(_MAX_HEADER, size - _LENGTH.size)
    if length > most:
      raise ValueError(f'its header has {length} bytes, and should have {most}')
    content = beginning + file.read()
    tensors = safetensors.deserialize(content)
    metadata = _header(content).get('__metadata__') or {}
    return {name: _array(name, tensor) for name, tensor in tensors}, metadata
  except (safetensors.SafetensorError, ValueError) as error:
    raise ValueError(
      f'cannot be read as safetensors ({str(error)[:300]}); copy it again, or '
      'save it again'
    ) from error


def save(
  arrays: Mapping[str, np.ndarray], path, metadata: Mapping[str, str]
) -> None:
  """Writes a file; the same content gives the same bytes.

  The library writes metadata in an order that differs from time to time.

  Args:
    arrays: name -> array.
    path: of the file.
    metadata: further texts for the header.

  Raises:
    OSError: it cannot be written.
  """
  import safetensors.numpy

  content = safetensors.numpy.save(dict(arrays), metadata=dict(metadata))
  (length,) = _LENGTH.unpack_from(content)
  header = json.dumps(_header(content), sort_keys=True, separators=(',', ':'))
  padded = header.encode() + b' ' * (-len(header.encode()) % 8)
  with open(path, 'wb') as file:
    file.write(_LENGTH.pack(len(padded)) + padded)
    file.write(memoryview(content)[_LENGTH.size + length :])
