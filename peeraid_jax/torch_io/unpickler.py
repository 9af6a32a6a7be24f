"""Unpickles files of PyTorch without running anything that is in them.

A pickle names classes and functions and calls them. Here only the names that
describe a tensor have a meaning. Every other name stands for `Inert`, which
accepts any call and does nothing. So checkpoints that also hold optimizers,
command-line arguments or whole modules can be read, and a hostile file calls
nothing.
"""

import collections
import pickle
from typing import Any

from peeraid_jax.torch_io import tensors


class Inert:
  """Replaces an object of a pickle that is no tensor and no container.

  Attributes:
    name: its class, with the module that defines it.
    state: the state that the object would have been restored from.
  """

  name = ''

  def __new__(cls, *args, **kwargs):
    del args, kwargs
    instance = super().__new__(cls)
    instance.state = None
    return instance

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


def _rebuild_tensor(storage, offset, shape, strides, *_) -> tensors.Tensor:
  """Takes the place of PyTorch's function; ignores gradients and hooks."""
  return tensors.strided(storage, offset, shape, strides)


def _rebuild_tensor_v3(
  storage, offset, shape, strides, requires_grad, hooks, element_type, *_
) -> tensors.Tensor:
  """As `_rebuild_tensor`, for elements of another type than the storage's."""
  del requires_grad, hooks
  return tensors.strided(storage, offset, shape, strides, element_type.dtype)


class Unpickler(pickle.Unpickler):
  """Creates tensors, containers and inert objects; nothing else.

  Args:
    file: the pickle, opened in binary mode.
    storages: key -> storage; the storages that the pickle mentions are added.
  """

  def __init__(self, file, storages: dict[Any, tensors.Storage]):
    super().__init__(file, encoding='latin-1')
    self._storages = storages
    # Created for each file, so that no file can change them for the next.
    self._constructors = {
      ('collections', 'OrderedDict'): collections.OrderedDict,
      ('torch', 'Size'): lambda sizes=(): tuple(sizes),
      ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
      ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
      ('torch._utils', '_rebuild_tensor_v3'): _rebuild_tensor_v3,
      ('torch._utils', '_rebuild_parameter'): lambda data, *rest: data,
      ('torch._utils', '_rebuild_parameter_with_state'): (
        lambda data, *rest: data
      ),
    }
    self._inert_classes: dict[tuple[str, str], type] = {}

  def find_class(self, module: str, name: str):
    """Returns what a name in the pickle stands for."""
    if (module, name) in self._constructors:
      return self._constructors[module, name]
    if module in ('torch', 'torch.storage', 'torch.cuda') and (
      tensors.ElementType.exists(name)
    ):
      return tensors.ElementType(name)
    if (module, name) not in self._inert_classes:
      self._inert_classes[module, name] = type(
        'Inert', (Inert,), {'name': f'{module}.{name}'}
      )
    return self._inert_classes[module, name]

  def persistent_load(self, pid) -> tensors.Storage:
    """Returns the storage that a tensor refers to; its numbers come later."""
    kind, element_type, key, _, _, *view = pid
    if kind != 'storage' or not isinstance(element_type, tensors.ElementType):
      raise ValueError(f'{kind!r} is not a part of a tensor')
    if any(view):
      raise ValueError('it is of a PyTorch before 0.4; save it again')
    if key not in self._storages:
      self._storages[key] = tensors.Storage(element_type.dtype)
    return self._storages[key]
