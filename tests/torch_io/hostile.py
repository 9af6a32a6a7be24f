"""Writes files of PyTorch that no `torch.save` wrote, operation by operation.

A file holds a network of random numbers, 'net', and something odd beside it.
"""

import functools
import pathlib
import pickle
import struct
import zipfile

import numpy as np

from tests.torch_io import networks, torch_files

# Of the tensor that `tensor` describes.
STORAGE = 'odd'


def _is_operation(of: str) -> bool:
  value = getattr(pickle, of)
  return of.isupper() and isinstance(value, bytes) and len(value) == 1


def text(value: str) -> bytes:
  content = value.encode('utf-8', 'surrogatepass')
  return pickle.BINUNICODE + struct.pack('<I', len(content)) + content


def integer(value: int) -> bytes:
  content = pickle.encode_long(value)
  return pickle.LONG4 + struct.pack('<i', len(content)) + content


def put(index: int) -> bytes:
  """Remembers the top of the stack; a network uses the lower indices."""
  return pickle.LONG_BINPUT + struct.pack('<I', 10_000 + index)


def get(index: int) -> bytes:
  return pickle.LONG_BINGET + struct.pack('<I', 10_000 + index)


def name(module: str, of: str) -> bytes:
  return pickle.GLOBAL + f'{module}\n{of}\n'.encode()


def numbers(*values: int) -> bytes:
  return pickle.MARK + b''.join(map(integer, values)) + pickle.TUPLE


def dictionary(**entries: bytes) -> bytes:
  items = b''.join(text(key) + value for key, value in entries.items())
  return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS


def call(function: bytes, *arguments: bytes) -> bytes:
  joined = pickle.MARK + b''.join(arguments) + pickle.TUPLE
  return function + joined + pickle.REDUCE


def module(of: str = 'Odd', **parts: bytes) -> bytes:
  """A module that was saved whole, with its parts as they are."""
  state = dictionary(**{f'_{part}': value for part, value in parts.items()})
  return call(name('models', of)) + state + pickle.BUILD


def storage(kind: str = 'FloatStorage', count: int = 6) -> bytes:
  parts = text('storage'), name('torch', kind), text(STORAGE), text('cpu')
  joined = pickle.MARK + b''.join(parts) + integer(count) + pickle.TUPLE
  return joined + pickle.BINPERSID


def tensor(shape=(2, 3), strides=(3, 1), offset=0, of=None, *rest) -> bytes:
  """A tensor of six numbers."""
  return call(
    name('torch._utils', '_rebuild_tensor_v2'),
    of or storage(),
    integer(offset),
    numbers(*shape),
    numbers(*strides),
    pickle.NEWFALSE,
    pickle.NONE,
    *rest,
  )


@functools.cache
def _network() -> tuple[bytes, dict[str, bytes]]:
  """The operations of a state dict, and its storages."""
  pickled, storages = torch_files.pickled(networks.state_dict('tiny', 2))
  operations = pickled.removeprefix(b'\x80\x02').removesuffix(pickle.STOP)
  return operations, {s.key: s.array.tobytes() for s in storages}


def network(*changes: bytes) -> bytes:
  """A state dict, with operations that follow while it is on the stack."""
  return _network()[0] + b''.join(changes)


def entry(key: str, value: bytes) -> bytes:
  """Adds an entry to the dict on the stack."""
  return text(key) + value + pickle.SETITEM


def pickled(odd: bytes = pickle.NONE, net: bytes | None = None) -> bytes:
  """The pickle of a network and of something odd."""
  both = dictionary(net=net or network(), odd=odd)
  return b'\x80\x02' + both + pickle.STOP


def members(content: bytes | None = None, **changes) -> dict[str, bytes]:
  """The members of a zip archive; a change of None leaves one out."""
  found = {
    'data.pkl': pickled() if content is None else content,
    'byteorder': b'little',
    f'data/{STORAGE}': np.arange(6, dtype=np.float32).tobytes(),
    **{f'data/{key}': raw for key, raw in _network()[1].items()},
    **changes,
  }
  return {n: raw for n, raw in found.items() if raw is not None}


def write_zip(path: pathlib.Path, found: dict[str, bytes]) -> pathlib.Path:
  with zipfile.ZipFile(path, 'w') as archive:
    for member, raw in found.items():
      archive.writestr(f'archive/{member}', raw)
  return path


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
  """Writes a pickle as `torch.save` would, with the storages beside it."""
  return write_zip(path, members(content))


def legacy(content: bytes) -> bytes:
  """Returns a file of the older format."""
  parts = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
  begin = b''.join(pickle.dumps(part, protocol=2) for part in parts)
  storages = _network()[1]
  counted = [len(raw) // 4 for raw in storages.values()]
  end = b''.join(
    count.to_bytes(8, 'little') + raw
    for count, raw in zip(counted, storages.values(), strict=True)
  )
  return begin + content + pickle.dumps(list(storages), protocol=2) + end


# Of these, tests put pickles together at random.
OPERATIONS = (
  *(getattr(pickle, n) for n in pickle.__all__ if _is_operation(n)),
  *(put(i) for i in range(3)),
  *(get(i) for i in range(3)),
  *map(text, ('linear.weight', 'mu', 'std', '_modules', 'a.weight')),
  *(name(*of.split()) for of in ('os system', 'torch Size', 'torch float32')),
  name('torch._utils', '_rebuild_tensor_v2'),
  name('collections', 'OrderedDict'),
  call(name('models', 'Odd')),
  numbers(2, 3),
  storage(),
  tensor(),
  module(modules=pickle.EMPTY_DICT),
)
