"""Loss landscapes, around the weights of a network and around images.

Reference:
  Li et al., Visualizing the Loss Landscape of Neural Nets, 2018 (directions
  normalised by filter); Wu et al., Adversarial Weight Perturbation Helps Robust
  Generalization, 2020 (images attacked again at each point).
"""

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import images as images_lib
from peeraid_jax import losses
from peeraid_jax import nets as nets_lib
from peeraid_jax.report import measure

# End of the axes around the weights: 1 moves by as much as the weights' norm.
REACH = 1.0
# End of the axes around images, in multiples of epsilon.
INPUT_REACH = 2.0


def direction(net: nets_lib.Net, key):
  """Draws a random direction with the norm of the weights in each filter.

  Args:
    net: the network.
    key: PRNG key.

  Returns:
    A pytree like `net.params`. Biases and the parameters of batch norm are
    zero: they do not move.
  """
  leaves, treedef = jax.tree.flatten(net.params)
  directions = []
  for index, leaf in enumerate(leaves):
    if leaf.ndim < 2:
      directions.append(jnp.zeros_like(leaf))
      continue
    noise = jax.random.normal(jax.random.fold_in(key, index), leaf.shape)
    # The last axis counts the filters.
    axes = tuple(range(leaf.ndim - 1))
    norms = lambda v, axes=axes: jnp.sqrt(
      jnp.sum(v**2, axis=axes, keepdims=True)
    )
    directions.append(noise * norms(leaf) / jnp.maximum(norms(noise), 1e-12))
  return jax.tree.unflatten(treedef, directions)


def _moved(net, first, second, a, b):
  """Moves the weights by `a * first + b * second`."""
  params = jax.tree.map(
    lambda p, d, e: p + a * d + b * e, net.params, first, second
  )
  return net.replace(params=params)


@jax.jit
def _loss_and_accuracy(net, images, labels):
  logits = net.eval(images).logits
  loss = losses.cross_entropy(logits, labels)
  return loss.mean(), jnp.mean(images_lib.predicted(logits) == labels)


@jax.jit
def _at_weights(net, first, second, a, b, images, labels):
  return _loss_and_accuracy(_moved(net, first, second, a, b), images, labels)


def _over_grid(axis: np.ndarray, loss_and_accuracy) -> dict[str, np.ndarray]:
  """Evaluates (a, b) -> (loss, accuracy) on a square grid.

  Args:
    axis: [size], coordinates along both directions.
    loss_and_accuracy: the function.

  Returns:
    {'axis': [size], 'loss', 'accuracy': [a, b]}.
  """
  values = np.array(
    [[jax.device_get(loss_and_accuracy(a, b)) for b in axis] for a in axis]
  )
  return {'axis': axis, 'loss': values[..., 0], 'accuracy': values[..., 1]}


def around_weights(
  net: nets_lib.Net, examples: measure.Examples, images, *, size: int
) -> dict[str, np.ndarray]:
  """Measures the loss on fixed images in a plane around a network's weights.

  Args:
    net: the network, at the centre.
    examples: labels, and the seed of the two directions.
    images: attacked images, float32 [N, H, W, C].
    size: grid points along each direction; odd.

  Returns:
    {'axis': [size], 'loss', 'accuracy': [first direction, second direction]}.
  """
  keys = jax.random.split(jax.random.key(examples.seed))
  first, second = (direction(net, key) for key in keys)
  return _over_grid(
    np.linspace(-REACH, REACH, size),
    lambda a, b: _at_weights(net, first, second, a, b, images, examples.labels),
  )


def along_weights(
  net: nets_lib.Net,
  examples: measure.Examples,
  threat: measure.Threat,
  *,
  size: int,
  steps: int,
) -> dict[str, np.ndarray]:
  """Measures the loss along one direction, with images attacked at each point.

  Args:
    net: the network, at the centre.
    examples: images, labels, and the seed of direction and attacks.
    threat: radius, step size and norm.
    size: grid points along the direction; odd.
    steps: number of steps of PGD.

  Returns:
    {'axis', 'loss', 'accuracy': [size]}.
  """
  along = direction(net, jax.random.key(examples.seed))
  no_direction = jax.tree.map(jnp.zeros_like, along)
  axis = np.linspace(-REACH, REACH, size)
  values = []
  for a in axis:
    moved = _moved(net, along, no_direction, jnp.float32(a), jnp.float32(0))
    images, _ = measure.attack(moved, examples, threat, steps=steps)
    values.append(
      jax.device_get(_loss_and_accuracy(moved, images, examples.labels))
    )
  values = np.array(values)
  return {'axis': axis, 'loss': values[:, 0], 'accuracy': values[:, 1]}


@jax.jit
def _gradient_signs(net, images, labels):
  def loss(x):
    return losses.cross_entropy(net.eval(x).logits, labels).sum()

  return jnp.sign(jax.grad(loss)(images))


@jax.jit
def _at_images(net, images, labels, first, second, a, b):
  return _loss_and_accuracy(
    net, jnp.clip(images + a * first + b * second, 0, 1), labels
  )


def around_images(
  net: nets_lib.Net, examples: measure.Examples, epsilon: float, *, size: int
) -> dict[str, np.ndarray]:
  """Measures the loss in planes around images, as the mean over the images.

  The plane of an image is spanned by the sign of its gradient and by random
  signs, drawn per pixel.

  Args:
    net: the network.
    examples: images, labels, and the seed of the random signs.
    epsilon: radius of the threat model; the plane ends at `INPUT_REACH` times
      this radius.
    size: grid points along each direction; odd.

  Returns:
    {'axis': [size], for pixels in [0, 1], 'loss', 'accuracy': [gradient sign,
    random sign]}.
  """
  first = _gradient_signs(net, examples.images, examples.labels)
  second = jax.random.rademacher(
    jax.random.key(examples.seed), examples.images.shape, jnp.float32
  )
  return _over_grid(
    np.linspace(-INPUT_REACH * epsilon, INPUT_REACH * epsilon, size),
    lambda a, b: _at_images(
      net, examples.images, examples.labels, first, second, a, b
    ),
  )
