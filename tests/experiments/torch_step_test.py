"""Our step of PeerAiD and the benchmark's in PyTorch compute the same.

Otherwise their speeds could not be compared. Needs pip install -e '.[oracle]'.
"""

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from experiments.benchmarks import programs
from peeraid_jax import torch_io

pytestmark = pytest.mark.slow
torch = pytest.importorskip('torch')
from experiments.benchmarks import torch_step  # noqa: E402

SETTINGS = {
  'train.batch_size': 8,
  'attack.steps': 2,
  # No randomness, so that both sides attack and train on the same images.
  'attack.start': 'none',
  'data.padding': 0,
  'data.flip': False,
}


def _arrays(net):
  """Returns a net's state dict as NumPy arrays, without counters."""
  return {
    name: np.array(array)
    for name, array in torch_io.to_state_dict(net).items()
    if not name.endswith('num_batches_tracked')
  }


def _tensors(net):
  """Returns a net's state dict as tensors."""
  return {k: torch.from_numpy(v) for k, v in _arrays(net).items()}


class TorchStepTest(parameterized.TestCase):
  @parameterized.parameters('eager', 'channels_last')
  def test_one_step(self, variant):
    torch.set_num_threads(1)
    config = programs.config('resnet18', 8, **SETTINGS)
    step, (state, rows, data, key) = programs.concrete(config)
    before = jax.device_get(state.nets)
    networks = []
    for role in ('student', 'peer'):
      network = torch_step.network('resnet18', 8)
      missing = network.load_state_dict(_tensors(before[role]), strict=False)
      self.assertEmpty(missing.unexpected_keys)
      self.assertTrue(
        all(k.endswith('num_batches_tracked') for k in missing.missing_keys)
      )
      networks.append(network)
    theirs = torch_step.Step(
      *networks, torch_step.VARIANTS[variant], start_scale=0.0, steps=2
    )
    images = data.images[np.ravel(rows.index)].astype(np.float32) / 255
    loss = theirs(
      torch.from_numpy(np.array(images).transpose(0, 3, 1, 2).copy()),
      torch.from_numpy(np.array(data.labels[np.ravel(rows.index)])).long(),
    )
    state, metrics = step(state, rows, data, key)
    self.assertAlmostEqual(float(metrics['loss']), float(loss), places=3)
    after = jax.device_get(state.nets)
    for role, network in zip(('student', 'peer'), networks, strict=True):
      expected = network.state_dict()
      initial = _arrays(before[role])
      for name, ours in _arrays(after[role]).items():
        change = np.abs(ours - initial[name]).max()
        error = np.abs(ours - expected[name].numpy()).max()
        # Where a gradient of the attack is 0 up to rounding, its sign differs.
        self.assertLess(error, 0.02 * change + 1e-5, f'{role} {name}')


if __name__ == '__main__':
  absltest.main()
