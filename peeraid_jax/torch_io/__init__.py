"""Networks from PyTorch and to it.

    from peeraid_jax import torch_io

    net = torch_io.load('trades_wrn34_10.pt')
    net.eval(images).logits
    torch_io.save(net, 'student.safetensors')

Reading needs no PyTorch and runs nothing of a file; see `pickles`. Which
networks are known, `layouts` says.
"""

import hashlib
import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from peeraid_jax import models, nets
from peeraid_jax.torch_io import detect, layouts, pickles, state_dicts

Architecture = detect.Architecture

# What DeepMind's networks do to images stands in their code, not their files.
_DEEPMIND_NORMALIZATIONS = {10: 'cifar10', 100: 'cifar100'}


class Imported(NamedTuple):
  """A network of a file.

  Attributes:
    architecture: found in the names and shapes of its arrays, or as given.
    normalization: what it does to images, as `models.create` takes it; ''
      if neither the file nor its architecture says.
    arrays: name in PyTorch -> array.
    source: the file's name, its digest, and where in it the network was.
  """

  architecture: Architecture
  normalization: str
  arrays: dict[str, np.ndarray]
  source: dict[str, str]

  def describe(self) -> str:
    """Returns the architecture in words."""
    name, width, classes, channels = self.architecture
    text = f'{name} of width {width} for {classes} classes'
    text += {1: ' of grey images', 3: ''}.get(
      channels, f' of {channels} channels'
    )
    if self.normalization not in ('', 'none'):
      text += f', normalization {self.normalization}'
    return text

  def as_architecture(self, name: str) -> 'Imported':
    """Returns the same arrays as of another network.

    Raises:
      ValueError: they are not its arrays; lists what does not fit.
    """
    other = self._replace(architecture=self.architecture._replace(name=name))
    layouts.check(
      self.arrays, layouts.leaves(module(other), self.architecture.channels)
    )
    return other


def _read(path: pathlib.Path):
  """Returns what a file holds, and what it says of itself."""
  if path.suffix != '.safetensors':
    return pickles.read(path), {}
  import safetensors

  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  try:
    with safetensors.safe_open(path, 'numpy') as file:
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
      return arrays, file.metadata() or {}
  except (safetensors.SafetensorError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path} cannot be read as safetensors ({error})'
    ) from error


def _digest(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _normalization(found, told, architecture) -> str:
  if found.normalization is not None:
    mean, std = found.normalization
    return f'{",".join(map(str, mean))}/{",".join(map(str, std))}'
  if 'normalization' in told:
    return told['normalization']
  if architecture.name.startswith('dm_') and architecture.channels == 3:
    return _DEEPMIND_NORMALIZATIONS.get(architecture.num_classes, '')
  return ''


def read(
  path, *, key: str = '', architecture: str = '', normalization: str = ''
) -> Imported:
  """Reads a network of PyTorch.

  Args:
    path: `.safetensors`, or else a file of `torch.save`: a state dict, or one
      inside a dict (`state_dict`, `net`, ...), or a whole module.
    key: which of several networks in the file.
    architecture: as of `models.get`, where the file leaves it open; else
      found.
    normalization: as of `models.normalization_of`; else that of the file, or
      of the architecture.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is damaged, holds no known network, or another one than
      said; lists what does not fit.
  """
  path = pathlib.Path(path).expanduser()
  content, told = _read(path)
  try:
    found = state_dicts.find(content, key)
    detected = detect.detect(found.arrays)
    imported = Imported(
      detected,
      normalization or _normalization(found, told, detected),
      found.arrays,
      {
        'torch': path.name,
        'sha256': _digest(path),
        **({'key': found.key} if found.key else {}),
      },
    )
    return imported.as_architecture(
      architecture or told.get('architecture', detected.name)
    )
  except ValueError as error:
    what = f' as {architecture}' if architecture else ''
    raise ValueError(f'{path}{what}: {error}') from None


def module(imported: Imported, **settings):
  """Returns the Flax module of a network that was read.

  Args:
    imported: of `read`.
    **settings: others of `models.create`.
  """
  name, width, classes, _ = imported.architecture
  return models.create(
    name,
    num_classes=classes,
    width=width,
    normalization=imported.normalization or 'none',
    **settings,
  )


def to_net(imported: Imported, **settings) -> nets.Net:
  """Returns a network that was read, as methods and attacks take it.

  Args:
    imported: of `read`.
    **settings: others of `models.create`.
  """
  made = module(imported, **settings)
  variables: dict[str, dict] = {'params': {}, 'batch_stats': {}}
  for leaf in layouts.leaves(made, imported.architecture.channels):
    inside = variables[leaf.collection]
    for part in leaf.path[:-1]:
      inside = inside.setdefault(part, {})
    array = layouts.to_ours(imported.arrays[leaf.name])
    inside[leaf.path[-1]] = jnp.asarray(array)
  return nets.Net(variables['params'], variables['batch_stats'], made)


def load(path, **how) -> nets.Net:
  """Loads a network of PyTorch.

  Args:
    path: of the file.
    **how: as of `read`.

  Raises:
    FileNotFoundError, ValueError: as of `read`; or it is one of DeepMind's,
      which normalise images by numbers that are not in the file, on other
      data than CIFAR.
  """
  imported = read(path, **how)
  check_normalization(imported, path)
  return to_net(imported)


def check_normalization(imported: Imported, path) -> None:
  """Checks that it is known what a network does to images.

  Raises:
    ValueError: it normalises them, and nothing says by which numbers.
  """
  name = imported.architecture.name
  if name.startswith('dm_') and not imported.normalization:
    raise ValueError(
      f'{path} is {name}, which normalises images by numbers that are not in '
      'the file; give its normalization'
    )


def _channels(net: nets.Net) -> int:
  return int(net.params['stem_conv']['kernel'].shape[2])


def to_state_dict(net: nets.Net) -> dict[str, np.ndarray]:
  """Returns a network's arrays as PyTorch names them.

  Its temperature goes into the last layer. What it does to images is no part
  of a state dict: whoever loads it has to do that.

  Raises:
    ValueError: PyTorch's repositories have no such network.
  """
  found = {}
  for leaf in layouts.leaves(net.module, _channels(net)):
    array = getattr(net, leaf.collection)
    for part in leaf.path:
      array = array[part]
    array = np.asarray(array, np.float32)
    if leaf.path[0] == 'linear' and net.temperature != 1:
      array = array / np.float32(net.temperature)
    found[leaf.name] = layouts.to_torch(array)
    if leaf.path[-1] == 'var':
      count = leaf.name.replace('running_var', 'num_batches_tracked')
      found[count] = np.zeros((), np.int64)
  return found


def describe(net: nets.Net) -> dict[str, str]:
  """Returns a network's architecture and normalization, by their names."""
  normalization = next(
    (
      k
      for k, v in models.NORMALIZATIONS.items()
      if v == net.module.normalization
    ),
    None,
  )
  if normalization is None:
    mean, std = net.module.normalization
    normalization = f'{",".join(map(str, mean))}/{",".join(map(str, std))}'
  # Shapes are enough.
  arrays = {
    leaf.name: np.broadcast_to(np.float32(0), leaf.shape)
    for leaf in layouts.leaves(net.module, _channels(net))
  }
  architecture = detect.detect(arrays).name
  return {'architecture': architecture, 'normalization': normalization}


def save(net: nets.Net, path) -> None:
  """Writes a network as PyTorch's state dict.

  A safetensors file also says which network it is, and what it does to
  images; `read` understands that.

  Args:
    net: its parameters and statistics.
    path: `.safetensors`; or `.pt`, `.pth`, which needs PyTorch.

  Raises:
    ValueError: PyTorch's repositories have no such network.
    ImportError: PyTorch is needed and not installed.
  """
  path = pathlib.Path(path)
  arrays = to_state_dict(net)
  if path.suffix == '.safetensors':
    import safetensors.numpy

    safetensors.numpy.save_file(arrays, path, metadata=describe(net))
    return
  torch = _torch()
  torch.save({n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, path)


def _torch():
  import importlib

  try:
    return importlib.import_module('torch')
  except ImportError:
    raise ImportError(
      "writing PyTorch's own format needs PyTorch: pip install "
      "'peeraid_jax[torch]'; safetensors need nothing more"
    ) from None
