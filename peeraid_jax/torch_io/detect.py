"""Detects the architecture of a PyTorch state dict by its names and shapes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from peeraid_jax.torch_io import families, layouts


class Architecture(NamedTuple):
  """An architecture, as `models.create` takes it.

  Attributes:
    name: of the network.
    width: its base channels.
    num_classes: number of logits.
    channels: number of channels of its images.
  """

  name: str
  width: int
  num_classes: int
  channels: int


def _check_rank(shapes: families.Shapes, name: str, *ranks: int) -> None:
  """Checks the number of axes of an array, before its sizes are used."""
  if len(shapes[name]) not in ranks or 0 in shapes[name]:
    raise ValueError(
      f'{name} has shape {shapes[name]}; it should have '
      f'{" or ".join(map(str, ranks))} axes, none of them empty'
    )


def detect(arrays: Mapping[str, np.ndarray]) -> Architecture:
  """Detects the architecture of a state dict.

  Some networks differ in nothing that a file holds. The usual one is returned:
  a pre-activation ResNet with a final norm has activated shortcuts, one without
  has raw ones.

  Args:
    arrays: name in PyTorch, without prefixes -> array.

  Raises:
    ValueError: no known architecture has these names.
  """
  shapes = {name: np.shape(array) for name, array in arrays.items()}
  candidates = [family for _, family in families.FAMILIES.items()]
  # Not only the family's own: `layouts.check` reports a classifier that has
  # another name together with everything else that does not fit.
  classifiers = dict.fromkeys(
    family.weight(families.CLASSIFIER) for family in candidates
  )
  classifier = next((name for name in classifiers if name in shapes), None)
  if classifier is None:
    raise ValueError(
      'its names are those of no known network: it has none of '
      f'{", ".join(classifiers)}, but {layouts.some(shapes)}'
    )
  for family in candidates:
    stem = family.weight(families.STEM)
    if stem in shapes and family.first_kernel in shapes:
      break
  else:
    raise ValueError(
      f'its names are those of no known network: {layouts.some(shapes)}'
    )
  _check_rank(shapes, classifier, 2)
  _check_rank(shapes, stem, 4)
  _check_rank(shapes, family.first_kernel, 2, 4)
  name, width = family.identify(shapes, family)
  return Architecture(name, width, shapes[classifier][0], shapes[stem][1])
