"""One small robust network in JAX and its twin in PyTorch.

AutoAttack's tests and benchmark attack both. PyTorch is an optional extra, so
`in_torch` imports it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from peeraid_jax import attacks, data, losses
from peeraid_jax.models import layers

EPSILON = {'Linf': 0.1, 'L2': 0.7, 'L1': 1.5}
# Of all 1,797 digits: the first are for training, the others to be attacked.
_TRAINED_ON = 797


def digits() -> tuple[np.ndarray, np.ndarray]:
  """Returns all digits, float32 [1797, 8, 8, 1] in [0, 1], and int labels."""
  parts = [data.load('digits', split=split) for split in ('train', 'test')]
  images = np.concatenate([part.images for part in parts])
  labels = np.concatenate([part.labels for part in parts])
  return images / np.float32(255), labels.astype(np.int32)


def points(count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns images and labels that the network was not trained on.

  Args:
    count: number of examples; at most 1,000.
  """
  images, labels = digits()
  return images[_TRAINED_ON:][:count], labels[_TRAINED_ON:][:count]


def logits_fn(weights, images):
  """Computes two convolutions and a linear layer.

  Args:
    weights: from `trained`.
    images: [B, 8, 8, 1] in [0, 1].

  Returns:
    Logits, [B, 10].
  """
  x = images
  for kernel, bias, stride in (
    (weights['conv1'], weights['bias1'], 1),
    (weights['conv2'], weights['bias2'], 2),
  ):
    # On a CPU, the gradient of a stock convolution is slow inside a loop.
    x = layers.conv_general_dilated(
      x, kernel, (stride, stride), ((1, 1), (1, 1))
    )
    x = jax.nn.relu(x + bias[None, None, None])
  return x.reshape(len(x), -1) @ weights['linear'] + weights['bias'][None]


@functools.cache
def trained(seed: int = 0):
  """Trains the network adversarially, which takes seconds; returns weights."""
  images, labels = (part[:_TRAINED_ON] for part in digits())
  keys = jax.random.split(jax.random.key(seed), 3)
  he = jax.nn.initializers.he_normal()
  weights = {
    'conv1': he(keys[0], (3, 3, 1, 16)),
    'bias1': jnp.zeros(16),
    'conv2': he(keys[1], (3, 3, 16, 32)),
    'bias2': jnp.zeros(32),
    'linear': he(keys[2], (4 * 4 * 32, 10)),
    'bias': jnp.zeros(10),
  }
  optimizer = optax.adam(2e-3)

  @jax.jit
  def step(weights, state, key):
    draw, attack = jax.random.split(key)
    rows = jax.random.choice(draw, len(images), (100,), replace=False)
    x, y = jnp.asarray(images)[rows], jnp.asarray(labels)[rows]
    adv = attacks.pgd(
      functools.partial(logits_fn, weights),
      x,
      y,
      attack,
      epsilon=EPSILON['Linf'],
      step_size=EPSILON['Linf'] / 4,
      steps=5,
    )
    loss = lambda w: losses.cross_entropy(logits_fn(w, adv), y).mean()
    updates, state = optimizer.update(jax.grad(loss)(weights), state)
    return optax.apply_updates(weights, updates), state

  state = optimizer.init(weights)
  for index in range(300):
    key = jax.random.fold_in(jax.random.key(seed), index)
    weights, state = jax.block_until_ready(step(weights, state, key))
  return weights


def in_torch(weights):
  """Returns the same network as a torch.nn.Module, images [B, 1, 8, 8].

  Raises:
    ImportError: PyTorch is not installed.
  """
  import torch

  class Twin(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.conv1 = torch.nn.Conv2d(1, 16, 3, padding=1)
      self.conv2 = torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)
      self.linear = torch.nn.Linear(4 * 4 * 32, 10)

    def forward(self, x):
      x = torch.relu(self.conv1(x))
      x = torch.relu(self.conv2(x))
      # JAX flattens features with channels last.
      return self.linear(x.permute(0, 2, 3, 1).flatten(1))

  tensor = lambda a: torch.from_numpy(np.array(a))
  convolution = lambda a: tensor(np.transpose(a, (3, 2, 0, 1)))
  twin = Twin()
  twin.load_state_dict(
    {
      'conv1.weight': convolution(weights['conv1']),
      'conv1.bias': tensor(weights['bias1']),
      'conv2.weight': convolution(weights['conv2']),
      'conv2.bias': tensor(weights['bias2']),
      'linear.weight': tensor(np.transpose(weights['linear'])),
      'linear.bias': tensor(weights['bias']),
    }
  )
  return twin.eval()
