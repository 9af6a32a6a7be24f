"""Reads networks from PyTorch's files."""

import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from peeraid_jax import models, nets
from peeraid_jax.torch_io import (
  detect,
  families,
  layouts,
  normalizations,
  pickles,
  safetensors_files,
  sources,
  state_dicts,
)

# Of the texts that are read of a file's metadata, in characters.
_MAX_METADATA = 1000


class Imported(NamedTuple):
  """A network that was read from a file.

  Attributes:
    architecture: detected from the names and shapes of its arrays, or given.
    normalization: how it normalises images, as `models.create` takes it; ''
      if this is not known.
    arrays: name in PyTorch -> array.
    source: where it comes from, as JSON: 'torch', the name of the file;
      'sha256' of the file; 'key' of the network in the file, if it has one.
  """

  architecture: detect.Architecture
  normalization: str
  arrays: dict[str, np.ndarray]
  source: dict[str, str]

  def describe(self) -> str:
    """Returns the architecture and normalization as a sentence for people."""
    name, width, classes, channels = self.architecture
    text = f'{name} of width {width} for {classes} classes'
    text += {1: ' of grey images', 3: ''}.get(
      channels, f' of {channels} channels'
    )
    if self.normalization not in ('', 'none'):
      text += f', normalization {self.normalization}'
    return text

  def as_architecture(self, name: str) -> 'Imported':
    """Returns the same arrays under the name of another architecture.

    Args:
      name: as of `models.get`; width, classes and channels stay.

    Raises:
      ValueError: its arrays are others; lists what does not fit.
    """
    renamed = self._replace(architecture=self.architecture._replace(name=name))
    channels = self.architecture.channels
    layouts.check(self.arrays, layouts.leaves(module(renamed), channels))
    return renamed


def _read_file(path: pathlib.Path) -> tuple[Any, dict[str, str], str]:
  """Returns the content of a file, its metadata, and its SHA-256."""
  with sources.opened(path) as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
    file.seek(0)
    if path.suffix == '.safetensors':
      return *safetensors_files.read(file), digest
    return pickles.read(file), {}, digest


def _check_metadata(metadata: Mapping[str, str]) -> None:
  """Checks that the texts which `read` uses are short enough to be names."""
  for field in ('architecture', 'normalization'):
    length = len(metadata.get(field, ''))
    if length > _MAX_METADATA:
      raise ValueError(
        f'its {field} has {length} characters, and should have at most '
        f'{_MAX_METADATA}'
      )


def _find_normalization(
  state_dict: state_dicts.StateDict,
  metadata: Mapping[str, str],
  architecture: detect.Architecture,
) -> str:
  """Returns the normalization of the file, or else of its family; or ''."""
  if state_dict.normalization is not None:
    mean, std = state_dict.normalization
    return normalizations.as_text(mean, std)
  if 'normalization' in metadata:
    return metadata['normalization']
  family = families.of_module(_module(architecture))
  if family.normalizations is not None and architecture.channels == 3:
    return family.normalizations.get(architecture.num_classes, '')
  return ''


def read(
  path, *, key: str = '', architecture: str = '', normalization: str = ''
) -> Imported:
  """Reads a network from a file of PyTorch.

  Args:
    path: `.safetensors`, or else a file of `torch.save`: a state dict, or one
      inside a dict (`state_dict`, `net`, ...), or a whole module.
    key: of the network, in a file that holds several.
    architecture: as of `models.get`; default: that of the file's metadata, or
      the one that is detected.
    normalization: as of `models.normalization_of`; default: that of the file,
      or of the code that such networks come from.

  Raises:
    FileNotFoundError: no such file.
    ValueError: the file is damaged, holds no known network, or its arrays are
      not those of the architecture; lists what does not fit.
  """
  # Unlike pathlib's, this leaves the name of an unknown user as it is.
  path = pathlib.Path(os.path.expanduser(path))
  content, metadata, digest = _read_file(path)
  try:
    _check_metadata(metadata)
    state_dict = state_dicts.find(content, key)
    detected = detect.detect(state_dict.arrays)
    source = {'torch': path.name, 'sha256': digest}
    if state_dict.key:
      source['key'] = state_dict.key
    if not normalization:
      normalization = _find_normalization(state_dict, metadata, detected)
    normalizations.check(normalization, detected.channels)
    imported = Imported(detected, normalization, state_dict.arrays, source)
    return imported.as_architecture(
      architecture or metadata.get('architecture', detected.name)
    )
  except ValueError as error:
    requested = f' as {architecture}' if architecture else ''
    raise ValueError(f'{path}{requested}: {error}') from None


def _module(architecture: detect.Architecture, **settings) -> nn.Module:
  return models.create(
    architecture.name,
    num_classes=architecture.num_classes,
    width=architecture.width,
    **settings,
  )


def module(imported: Imported, **settings) -> nn.Module:
  """Returns the Flax module of a network that was read.

  Args:
    imported: from `read`.
    **settings: further arguments of `models.create`.
  """
  return _module(
    imported.architecture,
    normalization=imported.normalization or 'none',
    **settings,
  )


def to_net(imported: Imported, **settings) -> nets.Net:
  """Returns a network that was read, as methods and attacks take it.

  Args:
    imported: from `read`.
    **settings: further arguments of `models.create`.
  """
  flax_module = module(imported, **settings)
  variables: dict[str, dict] = {'params': {}, 'batch_stats': {}}
  for leaf in layouts.leaves(flax_module, imported.architecture.channels):
    layer = variables[leaf.collection]
    for part in leaf.path[:-1]:
      layer = layer.setdefault(part, {})
    array = layouts.to_ours(imported.arrays[leaf.name])
    layer[leaf.path[-1]] = jnp.asarray(array)
  return nets.Net(
    variables['params'],
    variables['batch_stats'],
    flax_module,
    shape=(None, None, imported.architecture.channels),
  )


def load(path, **options) -> nets.Net:
  """Loads a network from a file of PyTorch.

  Args:
    path: of the file.
    **options: keyword arguments of `read`.

  Raises:
    FileNotFoundError, ValueError: as of `read`.
    ValueError: its normalization is not known, as of `check_normalization`.
  """
  imported = read(path, **options)
  check_normalization(imported, path)
  return to_net(imported)


def check_normalization(imported: Imported, path) -> None:
  """Checks that the normalization of a network is known.

  DeepMind's networks normalise images by numbers in their code. For CIFAR
  these are known; for other data nothing says them.

  Args:
    imported: from `read`.
    path: of its file, for the message.

  Raises:
    ValueError: the network normalises images by unknown numbers.
  """
  if imported.normalization:
    return
  if families.of_module(module(imported)).normalizations is not None:
    raise ValueError(
      f'{path} is {imported.architecture.name}, which normalises images by '
      'numbers that are not in the file; give its normalization'
    )
