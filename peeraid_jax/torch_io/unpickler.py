"""Unpickles files of PyTorch without running anything that is in them.

A pickle is a list of operations on a stack. Python's `pickletools` decodes
them, and the machine here does what they say: it builds numbers, texts,
tuples, lists, dicts and tensors. `objects` decides what names stand for, and
says why nothing of a file is run.

Python's own unpickler would do as well for a file that `torch.save` wrote.
For others it reserves memory for whatever number a file states, and looks up
keys of dicts that crash the process or take forever.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any

from peeraid_jax.torch_io import objects, tensors

# Bounds time (seconds) and memory (some 100 bytes for each). A network has a
# few thousand operations, with its optimizer some ten thousand.
MAX_OPERATIONS = 2_000_000
# Of a line of the oldest protocol, in bytes.
_MAX_LINE = 2**24

# The argument of these operations is the value that they push.
_LITERALS = frozenset(
  'INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT '
  'STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE '
  'BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8'.split()
)
# These push a new value. Of a set, nothing is needed but what it contains.
_NEW: dict[str, Callable[[], Any]] = {
  'NONE': lambda: None,
  'NEWTRUE': lambda: True,
  'NEWFALSE': lambda: False,
  'EMPTY_TUPLE': tuple,
  'EMPTY_LIST': list,
  'EMPTY_DICT': dict,
  'EMPTY_SET': list,
}
_ACTIONS: dict[str, Callable[['Unpickler', Any], None]] = {}


def _on(*names: str):
  """Makes a method do the operations of these names."""

  def add(method):
    _ACTIONS.update(dict.fromkeys(names, method))
    return method

  return add


class _Bounded:
  """A file as `pickletools` reads it; reserves no memory that it cannot fill.

  Args:
    file: opened in binary mode.
  """

  def __init__(self, file):
    self._file = file
    self.tell = file.tell
    place = file.tell()
    self._size = file.seek(0, io.SEEK_END)
    file.seek(place)

  def read(self, count: int) -> bytes:
    return self._file.read(min(count, self._size - self._file.tell()))

  def readline(self) -> bytes:
    return self._file.readline(_MAX_LINE)


class Unpickler:
  """Creates tensors, containers and inert objects; nothing else.

  Args:
    file: the pickle, opened in binary mode.
    storages: key -> storage; the storages that the pickle mentions are added.
  """

  def __init__(self, file, storages: dict[str, tensors.Storage]):
    self._file: Any = _Bounded(file)
    self._storages = storages
    self._stack: list[Any] = []
    # Heights of the stack at which the parts of containers begin.
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}
    self._left = MAX_OPERATIONS

  def load(self) -> Any:
    """Returns the object of the pickle; the file is then behind it.

    Raises:
      ValueError: the pickle is damaged, or too long.
    """
    for operation, argument, _ in pickletools.genops(self._file):
      self._spend(1)
      name = operation.name
      if name in _LITERALS:
        self._stack.append(argument)
      elif name in _NEW:
        self._stack.append(_NEW[name]())
      elif name in _ACTIONS:
        _ACTIONS[name](self, argument)
      else:
        raise ValueError(f'torch.save does not write the operation {name}')
    if self._marks or len(self._stack) != 1:
      raise ValueError('its pickle should end with one object')
    return self._stack.pop()

  def _spend(self, count: int) -> None:
    self._left -= count
    if self._left < 0:
      raise ValueError(
        f'its pickle takes more than {MAX_OPERATIONS} operations; save only '
        'the state dict of the network'
      )

  def _top(self) -> Any:
    if len(self._stack) <= (self._marks[-1] if self._marks else 0):
      raise ValueError('its pickle uses more objects than it makes')
    return self._stack[-1]

  def _pop(self) -> Any:
    self._top()
    return self._stack.pop()

  def _pop_to_mark(self) -> list[Any]:
    if not self._marks:
      raise ValueError('its pickle ends a container that it did not begin')
    height = self._marks.pop()
    items = self._stack[height:]
    del self._stack[height:]
    return items

  @_on('PROTO')
  def _protocol(self, number):
    if number > 5:
      raise ValueError(f'its pickle is of protocol {number}, not of 0 to 5')

  @_on('STOP', 'FRAME')
  def _nothing(self, argument):
    """The length of a frame only helps to read in larger pieces."""

  @_on('MARK')
  def _mark(self, _):
    self._marks.append(len(self._stack))

  @_on('POP')
  def _drop(self, _):
    if self._marks and self._marks[-1] == len(self._stack):
      self._marks.pop()
    else:
      self._pop()

  @_on('POP_MARK')
  def _drop_to_mark(self, _):
    self._pop_to_mark()

  @_on('DUP')
  def _double(self, _):
    self._stack.append(self._top())

  @_on('PUT', 'BINPUT', 'LONG_BINPUT')
  def _remember(self, index):
    self._memo[index] = self._top()

  @_on('MEMOIZE')
  def _remember_next(self, _):
    self._remember(len(self._memo))

  @_on('GET', 'BINGET', 'LONG_BINGET')
  def _recall(self, index):
    if index not in self._memo:
      raise ValueError('its pickle uses an object before it makes it')
    self._stack.append(self._memo[index])

  @_on('TUPLE', 'FROZENSET')
  def _tuple(self, _):
    self._stack.append(tuple(self._pop_to_mark()))

  @_on('TUPLE1')
  def _tuple1(self, _):
    self._stack.append((self._pop(),))

  @_on('TUPLE2')
  def _tuple2(self, _):
    second = self._pop()
    self._stack.append((self._pop(), second))

  @_on('TUPLE3')
  def _tuple3(self, _):
    third, second = self._pop(), self._pop()
    self._stack.append((self._pop(), second, third))

  @_on('LIST')
  def _list(self, _):
    self._stack.append(self._pop_to_mark())

  @_on('APPEND')
  def _append(self, _):
    self._extend([self._pop()])

  @_on('APPENDS', 'ADDITEMS')
  def _append_all(self, _):
    self._extend(self._pop_to_mark())

  def _extend(self, items: list[Any]) -> None:
    target = self._top()
    if isinstance(target, list):
      target.extend(items)
    elif not isinstance(target, objects.Inert):
      raise ValueError('its pickle appends to something that is no list')

  @_on('DICT')
  def _dict(self, _):
    items = self._pop_to_mark()
    self._stack.append({})
    self._store(items)

  @_on('SETITEM')
  def _set_item(self, _):
    value = self._pop()
    self._store([self._pop(), value])

  @_on('SETITEMS')
  def _set_items(self, _):
    self._store(self._pop_to_mark())

  def _store(self, items: list[Any]) -> None:
    target = self._top()
    if len(items) % 2:
      raise ValueError('its pickle has a key without a value')
    if isinstance(target, dict):
      objects.store(target, zip(items[::2], items[1::2], strict=True))
    elif not isinstance(target, objects.Inert):
      raise ValueError('its pickle adds entries to something that is no dict')

  @_on('GLOBAL')
  def _global(self, names):
    module, _, name = names.partition(' ')
    self._stack.append(objects.find(module, name))

  @_on('STACK_GLOBAL')
  def _stack_global(self, _):
    name, module = self._pop(), self._pop()
    if not isinstance(name, str) or not isinstance(module, str):
      raise ValueError('its pickle has a name that is no text')
    self._stack.append(objects.find(module, name))

  @_on('REDUCE', 'NEWOBJ')
  def _reduce(self, _):
    arguments = self._pop()
    self._call(self._pop(), arguments)

  @_on('NEWOBJ_EX')
  def _new_with_keywords(self, _):
    self._pop()
    self._reduce(None)

  @_on('OBJ')
  def _object(self, _):
    items = self._pop_to_mark()
    if not items:
      raise ValueError('its pickle makes an object of no class')
    self._call(items[0], tuple(items[1:]))

  @_on('INST')
  def _instance(self, names):
    arguments = tuple(self._pop_to_mark())
    self._global(names)
    self._call(self._pop(), arguments)

  def _call(self, function, arguments) -> None:
    if not isinstance(arguments, tuple):
      raise ValueError('a call is damaged: its arguments should be a tuple')
    if not isinstance(function, objects.Inert):
      # It may copy a list, and others may copy the same list again.
      self._spend(sum(len(a) for a in arguments if isinstance(a, list | tuple)))
    self._stack.append(objects.call(function, arguments))

  @_on('BUILD')
  def _build(self, _):
    """Other objects than inert ones have no state that would be needed."""
    state, target = self._pop(), self._top()
    if isinstance(target, objects.Inert):
      target.state = state

  @_on('PERSID', 'BINPERSID')
  def _persistent(self, reference):
    if reference is None:
      reference = self._pop()
    self._stack.append(objects.stored(reference, self._storages))
