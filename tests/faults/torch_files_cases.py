"""Damaged and hostile files of PyTorch, and what the errors say."""

import json
import pickle
import struct

from tests.torch_io import hostile

_list, _dict, _tuple = pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE
_none, _stop = pickle.NONE, pickle.STOP
put, get, text = hostile.put, hostile.get, hostile.text
name, call, integer = hostile.name, hostile.call, hostile.integer
module, tensor = hostile.module, hostile.tensor


def _laughs(kind: str, levels: int = 60) -> bytes:
  """Each level holds the level before twice: 2**60 parts."""
  made = {
    'tuples': _tuple + pickle.TUPLE1,
    'lists': _list,
    'dicts': _dict,
  }[kind]
  for level in range(levels):
    made += put(level)
    if kind == 'tuples':
      made += get(level) + pickle.TUPLE2
    elif kind == 'lists':
      made += pickle.POP + _list + get(level) + pickle.APPEND
      made += get(level) + pickle.APPEND
    else:
      made += pickle.POP + hostile.dictionary(a=get(level), b=get(level))
  return made


def _deep(kind: str, depth: int = 100_000) -> bytes:
  return {
    'tuples': _tuple + pickle.TUPLE1 * depth,
    'lists': _list * depth + pickle.APPEND * (depth - 1),
    'dicts': (_dict + text('a')) * depth + _none + pickle.SETITEM * depth,
    'objects': (name('a', 'b') + _tuple + pickle.REDUCE) * depth
    + pickle.BUILD * (depth - 1),
    'calls': name('a', 'b') * depth
    + (pickle.TUPLE1 + pickle.REDUCE) * (depth - 1),
  }[kind]


def _key(value: bytes) -> bytes:
  """A dict with that key."""
  return _dict + value + _none + pickle.SETITEM


def _colliding(count: int = 100_000) -> bytes:
  """A dict of numbers that all have the same hash."""
  keys = (integer((2**61 - 1) * (i + 1)) + _none for i in range(count))
  return _dict + pickle.MARK + b''.join(keys) + pickle.SETITEMS


# Odd objects beside a network, which is read all the same.
HARMLESS = {
  'itself in a dict': _dict + put(0) + hostile.entry('a', get(0)),
  'itself in a list': _list + put(0) + get(0) + pickle.APPEND,
  'itself in its state': call(name('a', 'b')) + put(0) + get(0) + pickle.BUILD,
  'tuples in tuples': _laughs('tuples'),
  'lists in lists': _laughs('lists'),
  'dicts in dicts': _laughs('dicts'),
  'deep tuples': _deep('tuples'),
  'deep lists': _deep('lists'),
  'deep dicts': _deep('dicts'),
  'deep objects': _deep('objects'),
  'deep calls': _deep('calls'),
  'a deep key': _key(_deep('tuples', 300_000)),
  'a key of many parts': _key(_laughs('tuples')),
  'a list as a key': _key(_list),
  'colliding keys': _colliding(),
  'a large index': _none + pickle.LONG_BINPUT + b'\xff\xff\xff\x7f',
  'a large index as text': _none + pickle.PUT + b'99999999999999999999\n',
  'a state that is a tuple': call(name('a', 'b'))
  + hostile.numbers(1, 2)
  + pickle.BUILD,
  'a state of a list': _list + _none + pickle.BUILD,
  'a state of a number': integer(1) + _dict + pickle.BUILD,
  'a state of a tensor': tensor()
  + hostile.dictionary(shape=hostile.numbers(10**9))
  + pickle.BUILD,
  'a state of a class': name('torch._utils', '_rebuild_tensor_v2')
  + hostile.dictionary(__defaults__=_none)
  + pickle.BUILD,
  'a frame that is too long': pickle.FRAME + b'\xff' * 8 + _none,
  'a call of an object': call(call(name('os', 'system')), text('true')),
  'entries of an object': call(name('collections', 'defaultdict'))
  + hostile.entry('a', _none),
  'names of the first protocol': pickle.MARK
  + pickle.MARK
  + pickle.INST
  + b'os\nsystem\n'
  + pickle.MARK
  + name('os', 'system')
  + pickle.OBJ
  + pickle.POP_MARK
  + _none,
  'texts of the first protocol': pickle.MARK
  + b"I01\nL5L\nF0.5\nS'a'\nVb\n"
  + pickle.LIST,
  'a set of lists': pickle.EMPTY_SET + pickle.MARK + _list + pickle.ADDITEMS,
  'a tensor outside of its storage': tensor(shape=(7, 7)),
  'an expanded tensor': tensor(shape=(10**9,), strides=(0,)),
  'a quantised tensor': call(name('torch._utils', '_rebuild_qtensor')),
  'quantised storage': hostile.storage('QInt32Storage'),
  'a type that is new': name('torch', 'float4_e2m1fn_x2'),
  'a module of another shape': module(modules=_list, parameters=integer(3)),
}

# Pickles that are refused, with what the error says.
REFUSED = {
  'an extension': (pickle.EXT1 + b'\x01', 'the operation EXT1'),
  'a large extension': (pickle.EXT4 + b'\xff' * 4, 'the operation EXT4'),
  'a buffer elsewhere': (pickle.NEXT_BUFFER, 'the operation NEXT_BUFFER'),
  'an operation that is none': (b'\xff', 'opcode'),
  'a large number': (pickle.LONG4 + b'\xff\xff\xff\x7f', 'not enough data'),
  'a negative size': (pickle.LONG4 + b'\xff' * 4, 'count < 0'),
  'a large text': (pickle.BINUNICODE8 + b'\xff' * 7 + b'\x0f', 'expected'),
  'large bytes': (pickle.BINBYTES8 + b'\xff' * 7 + b'\x0f', 'expected'),
  'a long number': (pickle.LONG + b'1' * 10_000 + b'L\n', '4300 digits'),
  'no text': (pickle.BINUNICODE + b'\x01\0\0\0\xff', 'decode'),
  'an early end': (_none + _stop, 'end with one object'),
  'a mark too many': (pickle.MARK + _none, 'key without a value|one object'),
  'a mark too few': (pickle.TUPLE * 3, 'did not begin'),
  'an empty stack': (pickle.POP * 9, 'more objects than it makes'),
  'no such memory': (pickle.BINGET + b'\xfe', 'before it makes it'),
  'a name of numbers': (integer(1) * 2 + pickle.STACK_GLOBAL, 'no text'),
  'a call of a number': (call(integer(1)), 'no function'),
  'a call with a list': (name('a', 'b') + _list + pickle.REDUCE, 'a tuple'),
  'a call without enough': (
    call(name('torch._utils', '_rebuild_tensor_v2')),
    'a call is damaged',
  ),
  'an object of no class': (pickle.MARK + pickle.OBJ, 'no class'),
  'entries of a number': (integer(1) + hostile.entry('a', _none), 'no dict'),
  'parts of a number': (integer(1) + _none + pickle.APPEND, 'no list'),
  'a dict of no pairs': (
    call(name('collections', 'OrderedDict'), _list + _list + pickle.APPEND),
    'pairs',
  ),
  'a key without a value': (
    pickle.MARK + _none + pickle.DICT,
    'without a value',
  ),
  'a reference that is text': (pickle.PERSID + b'storage\n', 'no part of'),
  'a reference that is short': (
    text('storage') + pickle.TUPLE1 + pickle.BINPERSID,
    'no part of',
  ),
  'a reference that is deep': (
    _laughs('tuples') + pickle.BINPERSID,
    'no part of',
  ),
  'an unknown storage': (hostile.storage('QUInt4x2Storage'), 'QUInt4x2Storage'),
  'a storage of two types': (
    hostile.storage() + pickle.POP + hostile.storage('HalfStorage', 12),
    'in two ways',
  ),
  'a storage of another size': (hostile.storage(count=7), 'has 24 bytes'),
  'a storage that is missing': (
    hostile.storage().replace(text(hostile.STORAGE), text('../../x')),
    'is missing',
  ),
  'a tensor of nothing': (tensor(of=_none), 'no storage'),
  'a tensor of negative size': (tensor(shape=(-1, 3)), 'whole numbers'),
  'a tensor of huge size': (tensor(shape=(2**64, 3)), 'whole numbers'),
  'a tensor of many axes': (tensor(shape=(1,) * 100), 'axes'),
  'a tensor that begins before': (tensor(offset=-1), 'whole numbers'),
  'many operations': (_none * 3_000_000, 'more than 2000000 operations'),
  'copies of a long list': (
    _list
    + pickle.MARK
    + _none * 300_000
    + pickle.APPENDS
    + put(0)
    + (name('torch', 'Size') + get(0) + pickle.TUPLE1 + pickle.REDUCE) * 1000,
    'more than 2000000 operations',
  ),
  'a protocol of the future': (pickle.PROTO + b'\x09' + _none, 'protocol 9'),
}


def _modules_in_modules(levels: int) -> bytes:
  """Each module holds the one before twice."""
  made = module(modules=_dict)
  for level in range(levels):
    inner = hostile.dictionary(a=get(level), b=get(level))
    made += put(level) + pickle.POP + module(modules=inner)
  return made


def _shared(count: int) -> bytes:
  """Many networks that are one."""
  one = hostile.dictionary(**{'a.weight': tensor()}) + put(0)
  others = {str(i + 1): get(0) for i in range(count)}
  return hostile.dictionary(**{'0': one}, **others)


# What is found in them is refused.
REFUSED |= {
  'a module in itself': (
    call(name('models', 'Odd'))
    + put(0)
    + hostile.dictionary(_modules=hostile.dictionary(a=get(0)))
    + pickle.BUILD,
    'contain themselves',
  ),
  'modules in modules': (_modules_in_modules(60), 'contain themselves'),
  'modules in modules, many times': (_modules_in_modules(19), 'too often'),
  'networks of one network': (_shared(1001), 'more than 1000 networks'),
}
# Networks that are refused, with what the error says.
WEIGHT = 'linear.weight'
NETWORKS = {
  'a tensor outside of its storage': (tensor((7, 2), (2, 1)), 'not fit into'),
  'an expanded tensor': (tensor((10**9,), (0,)), 'not fit into'),
  'a product that overflows': (tensor((2**40, 2**40)), 'not fit into'),
  'other strides than sizes': (tensor((2, 3), (1,)), 'is damaged'),
  'a quantised tensor': (
    call(name('torch._utils', '_rebuild_qtensor'), hostile.storage()),
    f'{WEIGHT} is made by torch._utils._rebuild_qtensor; quantised, sparse',
  ),
  'a sparse tensor': (
    call(name('torch._utils', '_rebuild_sparse_tensor'), integer(1)),
    '_rebuild_sparse_tensor; quantised, sparse',
  ),
  'a tensor without numbers': (
    call(name('torch._utils', '_rebuild_meta_tensor_no_storage')),
    '_rebuild_meta_tensor_no_storage',
  ),
  'a conjugate tensor': (
    tensor((2, 3), (3, 1), 0, None, hostile.dictionary(neg=_none)),
    'negative bit',
  ),
  'complex numbers': (
    tensor((3, 1), (1, 1), of=hostile.storage('ComplexFloatStorage', 3)),
    f'numbers: {WEIGHT} is of complex64',
  ),
  'whole numbers': (
    tensor(of=hostile.storage('IntStorage')),
    f'{WEIGHT} is of int32',
  ),
}
# Further entries of a network, with what the error says.
ENTRIES = {
  'a long name': ({'a' * 10_000: tensor()}, 'more than 500 characters'),
  'a name of many parts': ({'a.' * 10_000: tensor()}, 'more than 500 char'),
  'a name twice': ({f'module.{WEIGHT}': tensor()}, 'weight twice'),
  'a name of two lines': ({'a\nb': tensor()}, r"unexpected: 'a\\nb'"),
  'many arrays': (
    {str(i): get(0) if i else tensor() + put(0) for i in range(100_001)},
    'at most 100000',
  ),
  'tensors that overlap': (
    {str(i): get(0) if i else tensor() + put(0) for i in range(9000)},
    'its tensors overlap',
  ),
  'other axes': ({WEIGHT: tensor((6,), (1,))}, 'linear.weight has shape'),
  'no numbers': ({WEIGHT: tensor((0, 2**40), (1, 1))}, 'none of them empty'),
  'means of many numbers': (
    {'mu': tensor((2000,), (0,)), 'sigma': tensor((2000,), (0,))},
    'not fit',
  ),
  'means of two channels': (
    {'mu': tensor((2,), (1,), 1), 'sigma': tensor((2,), (1,), 1)},
    "normalization='1.0,2.0/1.0,2.0' should have finite numbers, one or 3",
  ),
  'a deviation of 0': (
    {'mu': tensor((1,), (1,)), 'sigma': tensor((1,), (1,))},
    "normalization='0.0/0.0' is unknown",
  ),
}


def patched(content: bytes, marker: bytes, place: int, new: bytes) -> bytes:
  """Changes a header of a zip archive; the last one that the marker begins."""
  begin = content.rindex(marker) + place
  return content[:begin] + new + content[begin + len(new) :]


_CENTRAL = b'PK\x01\x02'
_END = b'PK\x05\x06'
# The last entry of the index is that of the last storage: (place in it, new
# bytes, what the error says).
ZIPS = {
  'a wrong checksum': (_CENTRAL, 16, b'\0' * 4, 'Bad CRC-32'),
  'an encrypted member': (_CENTRAL, 8, b'\x01\0', 'encrypted'),
  'a compressed member': (_CENTRAL, 10, b'\x08\0', 'compressed'),
  'an unknown compression': (_CENTRAL, 10, b'\x63\0', 'compressed'),
  'a bomb': (_CENTRAL, 24, b'\xff\xff\xff\x7f', 'two sizes'),
  'a member larger than the file': (
    _CENTRAL,
    20,
    b'\xff\xff\xff\x7f' * 2,
    'overlap, or reach outside',
  ),
  'a member in another': (_CENTRAL, 42, b'\0' * 4, 'overlap'),
  'a member behind the file': (_CENTRAL, 42, b'\xff' * 3, 'reach outside'),
  'a member of zip64 without sizes': (_CENTRAL, 20, b'\xff' * 8, 'zip64|over'),
  'an index elsewhere': (_END, 16, b'\xff' * 3, 'cannot be read'),
  'a large index': (_END, 12, b'\xff' * 4, 'cannot be read'),
}


def tensors(content: dict, data: bytes = b'') -> bytes:
  """A file of safetensors with that header."""
  return with_header(json.dumps(content).encode(), data)


def with_header(header: bytes, data: bytes = b'', length=None) -> bytes:
  size = len(header) if length is None else length
  return struct.pack('<Q', size) + header + data


def entry(dtype='F32', shape=(1,), offsets=(0, 4)) -> dict:
  return {'dtype': dtype, 'shape': shape, 'data_offsets': offsets}


ONE = '"a":' + json.dumps(entry())
SAFETENSORS = {
  'nothing': (b'', 'shorter than a header'),
  'a part of a length': (b'\0' * 7, 'shorter than a header'),
  'a header larger than the file': (
    with_header(b'{}', length=2**63),
    'its header has 9223372036854775808 bytes',
  ),
  'a header that is too large': (
    with_header(b'{' + b' ' * 2**24 + b'}'),
    'and should have 16777216',
  ),
  'deep lists': (with_header(b'[' * 100_000), 'invalid JSON'),
  'deep dicts': (with_header(b'{"a":' * 100_000), 'invalid JSON'),
  'deep metadata': (
    with_header(b'{"__metadata__":' * 100_000),
    'invalid JSON',
  ),
  'NaN': (with_header(b'{"a":NaN}'), 'invalid JSON'),
  'no UTF-8': (with_header(b'{"\xff":1}'), 'UTF-8'),
  'one name twice': (
    with_header(f'{{{ONE},{ONE}}}'.encode(), b'1234'),
    'twice',
  ),
  'metadata twice': (
    with_header(
      f'{{"__metadata__":{{"a":"1","a":"2"}},{ONE}}}'.encode(), b'1234'
    ),
    'twice',
  ),
  'metadata of numbers': (
    tensors({'__metadata__': {'a': 1}, 'a': entry()}, b'1234'),
    'expected a string',
  ),
  'arrays that overlap': (
    tensors({'a': entry(), 'b': entry()}, b'1234'),
    'invalid offset',
  ),
  'an array outside of the file': (
    tensors({'a': entry(offsets=(0, 8), shape=(2,))}, b'1234'),
    'not fully covered',
  ),
  'an array backwards': (
    tensors({'a': entry(offsets=(4, 0))}, b'1234'),
    'invalid offset|[Oo]verflow',
  ),
  'bytes of no array': (tensors({'a': entry()}, b'12345'), 'not fully'),
  'a product that overflows': (
    tensors({'a': entry(shape=(2**40, 2**40))}, b'1234'),
    'overflow',
  ),
  'an empty product that overflows': (
    tensors({'a': entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
    'too big|overflow|too large',
  ),
  'many axes': (tensors({'a': entry(shape=(1,) * 100)}, b'1234'), 'dim'),
  'a negative size': (tensors({'a': entry(shape=(-1,))}, b'1234'), '-1'),
  'a size of 1.0': (tensors({'a': entry(shape=(1.0,))}, b'1234'), '1.0'),
  'an unknown type': (tensors({'a': entry('Q7')}, b'1234'), 'Q7'),
  'numbers of four bits': (
    tensors({'a': entry('F4', (8,))}, b'1234'),
    "'a' is of type F4, and should be one of F64, F32",
  ),
  'complex numbers': (
    tensors({'a.weight': entry('C64', (1,), (0, 8))}, b'12345678'),
    'no known network',
  ),
}
