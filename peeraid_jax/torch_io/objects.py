"""What the names in a pickle stand for.

A pickle names classes and functions, and calls them. Here only the names that
describe a tensor have a meaning. Every other name stands for `Inert`, which
accepts any call and does nothing. So checkpoints that also hold optimizers,
command-line arguments or whole modules can be read, and a hostile file calls
nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from peeraid_jax.torch_io import tensors


class Inert:
  """Replaces a class or an object that is no tensor and no container.

  Attributes:
    name: its class, with the module that defines it.
    state: the state that the object would have been restored from.
  """

  __slots__ = ('name', 'state')

  def __init__(self, name: str):
    self.name = name
    self.state: Any = None

  @property
  def is_tensor(self) -> bool:
    """Whether PyTorch would make a tensor of it: a quantised or sparse one."""
    return self.name.startswith(
      ('torch._utils._rebuild_', 'torch._tensor._rebuild_')
    )


def store(target: dict, items: Iterable[tuple[Any, Any]]) -> None:
  """Adds entries to a dict.

  A key other than a text or an ordinary number gets a stand-in. To look such
  keys up can take forever: nested tuples, or numbers that were chosen so that
  they collide.
  """
  for key, value in items:
    plain = isinstance(key, str | bytes | float | None) or (
      isinstance(key, int) and abs(key) < 2**60
    )
    target[key if plain else Inert('key')] = value


def _sequence(value) -> list | tuple:
  if not isinstance(value, list | tuple):
    raise ValueError('a call is damaged: it should be given a list')
  return value


def _ordered_dict(items=()) -> dict:
  """Takes the place of OrderedDict; Python 2 gave it its entries."""
  found: dict = {}
  if any(len(_sequence(item)) != 2 for item in _sequence(items)):
    raise ValueError('a dict is damaged: its entries should be pairs')
  store(found, items)
  return found


def _rebuild_tensor(
  storage, offset, shape, strides, requires_grad=False, hooks=None, bits=None
) -> tensors.Tensor | Inert:
  """Takes the place of PyTorch's function; ignores gradients and hooks."""
  del requires_grad, hooks
  if bits:
    return Inert(
      'torch._utils._rebuild_tensor with a conjugate or negative bit'
    )
  return tensors.strided(storage, offset, shape, strides)


def _rebuild_tensor_v3(
  storage, offset, shape, strides, requires_grad, hooks, dtype, bits=None
) -> tensors.Tensor | Inert:
  """As `_rebuild_tensor`, for elements of another type than the storage's."""
  del requires_grad, hooks
  if bits or not isinstance(dtype, tensors.ElementType):
    return Inert(f'torch._utils._rebuild_tensor_v3 of type {named(dtype)}')
  return tensors.strided(storage, offset, shape, strides, dtype.dtype)


_CONSTRUCTORS: Mapping[tuple[str, str], Callable] = {
  ('collections', 'OrderedDict'): _ordered_dict,
  ('torch', 'Size'): lambda sizes=(): tuple(_sequence(sizes)),
  ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v3'): _rebuild_tensor_v3,
  ('torch._utils', '_rebuild_parameter'): lambda data, *rest: data,
  ('torch._utils', '_rebuild_parameter_with_state'): lambda data, *rest: data,
}


def find(module: str, name: str) -> Any:
  """Returns what a name in a pickle stands for: a constructor or an `Inert`."""
  if (module, name) in _CONSTRUCTORS:
    return _CONSTRUCTORS[module, name]
  if module in ('torch', 'torch.storage', 'torch.cuda') and (
    tensors.ElementType.exists(name)
  ):
    return tensors.ElementType(name)
  return Inert(f'{module}.{name}')


def named(value) -> str:
  """Returns the name of what `find` returned, for a message."""
  name = getattr(value, 'name', type(value).__name__)
  return name if len(name) <= 80 else f'{name[:80]}...'


def call(function, arguments: tuple) -> Any:
  """Calls what `find` returned.

  Raises:
    ValueError: it cannot be called, or not with such arguments.
  """
  if isinstance(function, Inert | tensors.ElementType):
    return Inert(function.name)
  if function not in _CONSTRUCTORS.values():
    raise ValueError('it calls something that is no function')
  try:
    return function(*arguments)
  except TypeError as error:
    raise ValueError(f'a call is damaged ({error})') from error


def stored(reference, storages: dict[str, tensors.Storage]) -> Any:
  """Returns what a reference to data outside of the pickle stands for.

  Args:
    reference: the 'persistent id': ('storage', type, key, device, count, ...);
      or ('module', class, file, source), around classes of modules in the
      older format.
    storages: key -> storage; a new one is added, and its numbers come later.

  Raises:
    ValueError: it is no such reference.
  """
  match reference:
    case ('module', Inert() as named_class, *_):
      return named_class
    case (
      'storage',
      tensors.ElementType() as element_type,
      str(key),
      _,
      int(count),
      *views,
    ) if element_type.is_storage:
      if any(views):
        raise ValueError('it is of a PyTorch before 0.4; save it again')
    case ('storage', Inert() as unknown, *_):
      raise ValueError(f'its tensors are of the unknown type {named(unknown)}')
    case _:
      raise ValueError('it refers to something that is no part of a tensor')
  new = tensors.Storage(element_type.dtype, count)
  found = storages.setdefault(key, new)
  if (found.dtype, found.count) != (new.dtype, new.count):
    raise ValueError(f'it describes its storage {key[:80]!r} in two ways')
  return found
