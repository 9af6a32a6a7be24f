"""Writes networks as PyTorch's state dicts."""

import importlib
import pathlib

import numpy as np

from peeraid_jax import nets
from peeraid_jax.torch_io import (
  detect,
  families,
  layouts,
  normalizations,
  safetensors_files,
)


def _leaves(net: nets.Net) -> tuple[layouts.Leaf, ...]:
  variables = {'params': net.params, 'batch_stats': net.batch_stats}
  return layouts.name_leaves(net.module, variables)


def to_state_dict(net: nets.Net) -> dict[str, np.ndarray]:
  """Returns the arrays of a network, named as in PyTorch.

  The last layer is divided by the network's temperature. A state dict does
  not hold the normalization: whoever loads it has to normalise images first.

  Args:
    net: the network.

  Returns:
    Name in PyTorch -> array.

  Raises:
    ValueError: PyTorch's repositories have no such network.
  """
  arrays = {}
  for leaf in _leaves(net):
    array = getattr(net, leaf.collection)
    for part in leaf.path:
      array = array[part]
    array = np.asarray(array, np.float32)
    if leaf.path[0] == families.CLASSIFIER and net.temperature != 1:
      array = array / np.float32(net.temperature)
    arrays[leaf.name] = layouts.to_torch(array)
    if leaf.path[-1] == 'var':
      # Every batch norm of PyTorch also counts its batches.
      count = leaf.name.replace('running_var', 'num_batches_tracked')
      arrays[count] = np.zeros((), np.int64)
  return arrays


def describe(net: nets.Net) -> dict[str, str]:
  """Returns the names of a network's 'architecture' and 'normalization'.

  Raises:
    ValueError: PyTorch's repositories have no such network, or the
      architecture is not registered.
  """
  # Shapes are enough: an array of one number is repeated.
  arrays = {
    leaf.name: np.broadcast_to(np.float32(0), leaf.shape)
    for leaf in _leaves(net)
  }
  return {
    'architecture': detect.detect(arrays).name,
    'normalization': normalizations.name_of(net.module.normalization),
  }


def save(net: nets.Net, path) -> None:
  """Writes a network as a state dict of PyTorch.

  The same network always gives the same bytes.

  A safetensors file also holds the names of the architecture and of the
  normalization, which `read` takes from it.

  Args:
    net: the network.
    path: `.safetensors`; or `.pt` or `.pth`, which need PyTorch.

  Raises:
    ValueError: PyTorch's repositories have no such network.
    ImportError: PyTorch is needed and not installed.
  """
  path = pathlib.Path(path)
  arrays = to_state_dict(net)
  if path.suffix == '.safetensors':
    safetensors_files.save(arrays, path, metadata=describe(net))
    return
  torch = _import_torch()
  with path.open('wb') as file:
    # Given a name, PyTorch would write it into the file.
    torch.save({n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, file)


def _import_torch():
  try:
    # The package never imports PyTorch by name: it has to work without.
    return importlib.import_module('torch')
  except ImportError:
    raise ImportError(
      "writing PyTorch's own format needs PyTorch: pip install "
      "'peeraid_jax[torch]'; safetensors need nothing more"
    ) from None
