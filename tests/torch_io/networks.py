"""State dicts of random numbers, and a test case that writes them to files."""

import numpy as np
from absl.testing import parameterized

from peeraid_jax import models, torch_io
from tests import helpers
from tests.torch_io import torch_files


def state_dict(
  name: str, width: int, classes: int = 10, channels: int = 3
) -> dict[str, np.ndarray]:
  """Returns random arrays of a network: name in PyTorch -> array."""
  module = models.create(name, num_classes=classes, width=width)
  rng = np.random.default_rng(0)
  return {
    leaf.name: rng.uniform(0.1, 1, leaf.shape).astype(np.float32)
    for leaf in torch_io.layouts.leaves(module, channels)
  }


def images() -> np.ndarray:
  """Returns two random images, float32 [2, 8, 8, 3] in [0, 1]."""
  rng = np.random.default_rng(1)
  return rng.uniform(size=(2, 8, 8, 3)).astype(np.float32)


class FilesTestCase(parameterized.TestCase):
  """Writes files of `torch.save` into a folder of the test."""

  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def write(self, content):
    """Writes nested containers of arrays; returns the path."""
    return torch_files.write_zip(self.folder / 'net.pt', content)
