"""Loss landscapes, in the space of weights and in that of images.

Reference:
  Li et al., Visualizing the Loss Landscape of Neural Nets, 2018 (directions
  normalised by filter); Wu et al., Adversarial Weight Perturbation Helps Robust
  Generalization, 2020 (attacks made anew at each weight).
"""

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import losses
from peeraid_jax import nets as nets_lib
from peeraid_jax.report import measure

# How far along a direction: 1 is as long as the weights themselves.
REACH = 1.0
# How far in the space of images, in multiples of epsilon.
INPUT_REACH = 2.0


def direction(net: nets_lib.Net, key):
  """Draws a random direction as long, in each filter, as the weights.

  Biases and the parameters of batch norm stay as they are.
  """
  leaves, treedef = jax.tree.flatten(net.params)
  drawn = []
  for index, leaf in enumerate(leaves):
    if leaf.ndim < 2:
      drawn.append(jnp.zeros_like(leaf))
      continue
    noise = jax.random.normal(jax.random.fold_in(key, index), leaf.shape)
    # Filters are along the last axis.
    axes = tuple(range(leaf.ndim - 1))
    length = lambda v, axes=axes: jnp.sqrt(
      jnp.sum(v**2, axis=axes, keepdims=True)
    )
    drawn.append(noise * length(leaf) / jnp.maximum(length(noise), 1e-12))
  return jax.tree.unflatten(treedef, drawn)


def _moved(net, first, second, a, b):
  params = jax.tree.map(
    lambda p, d, e: p + a * d + b * e, net.params, first, second
  )
  return net.replace(params=params)


@jax.jit
def _loss_and_hits(net, images, labels):
  logits = net.eval(images).logits
  loss = losses.cross_entropy(logits, labels)
  return loss.mean(), jnp.mean(jnp.argmax(logits, -1) == labels)


@jax.jit
def _at_weights(net, first, second, a, b, images, labels):
  return _loss_and_hits(_moved(net, first, second, a, b), images, labels)


def weights(net, points: measure.Points, images, *, size: int):
  """Returns the loss on fixed images around a network's weights.

  Args:
    net: the network, in the middle.
    points: labels, and the seed of the directions.
    images: attacked images, [N, H, W, C].
    size: points along each of two directions; odd.

  Returns:
    {'axis': [size], 'loss': [size, size], 'accuracy': likewise}.
  """
  keys = jax.random.split(jax.random.key(points.seed))
  first, second = (direction(net, key) for key in keys)
  axis = np.linspace(-REACH, REACH, size)
  found = np.array(
    [
      [
        jax.device_get(
          _at_weights(net, first, second, a, b, images, points.labels)
        )
        for b in axis
      ]
      for a in axis
    ]
  )
  return {'axis': axis, 'loss': found[..., 0], 'accuracy': found[..., 1]}


def attacked_weights(
  net, points: measure.Points, threat: measure.Threat, *, size: int, steps: int
):
  """Returns the loss along one direction, attacked anew at each weight.

  Args:
    net: the network, in the middle.
    points: images, labels, and the seed of direction and attacks.
    threat: radius, step and norm.
    size: points along the direction; odd.
    steps: of PGD.

  Returns:
    {'axis', 'loss', 'accuracy': [size]}.
  """
  along = direction(net, jax.random.key(points.seed))
  nowhere = jax.tree.map(jnp.zeros_like, along)
  axis = np.linspace(-REACH, REACH, size)
  found = []
  for a in axis:
    moved = _moved(net, along, nowhere, jnp.float32(a), jnp.float32(0))
    images, _ = measure.attack(moved, points, threat, steps=steps)
    found.append(jax.device_get(_loss_and_hits(moved, images, points.labels)))
  found = np.array(found)
  return {'axis': axis, 'loss': found[:, 0], 'accuracy': found[:, 1]}


@jax.jit
def _signs(net, images, labels):
  def loss(x):
    return losses.cross_entropy(net.eval(x).logits, labels).sum()

  return jnp.sign(jax.grad(loss)(images))


@jax.jit
def _at_images(net, images, labels, first, second, a, b):
  return _loss_and_hits(
    net, jnp.clip(images + a * first + b * second, 0, 1), labels
  )


def inputs(net, points: measure.Points, epsilon: float, *, size: int):
  """Returns the loss around images, the mean of all of them.

  Each image has its own plane: the sign of its gradient, and a random sign
  per pixel.

  Args:
    net: the network.
    points: images, labels, and the seed of the random signs.
    epsilon: radius; the plane reaches `INPUT_REACH` times as far.
    size: points along each direction; odd.

  Returns:
    {'axis': [size], in pixels; 'loss', 'accuracy': [gradient, random]}.
  """
  first = _signs(net, points.images, points.labels)
  second = jax.random.rademacher(
    jax.random.key(points.seed), points.images.shape, jnp.float32
  )
  axis = np.linspace(-INPUT_REACH * epsilon, INPUT_REACH * epsilon, size)
  found = np.array(
    [
      [
        jax.device_get(
          _at_images(net, points.images, points.labels, first, second, a, b)
        )
        for b in axis
      ]
      for a in axis
    ]
  )
  return {'axis': axis, 'loss': found[..., 0], 'accuracy': found[..., 1]}
