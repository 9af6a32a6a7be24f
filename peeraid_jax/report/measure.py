"""What a report measures on a network, as arrays.

The attack here is PGD on the cross-entropy from a uniform start in the ball,
clipped to [0, 1]. It runs one compiled step at a time, so that the same program
serves every radius and number of steps, and accuracies can be recorded on the
way.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import attacks, losses
from peeraid_jax import data as data_lib
from peeraid_jax import images as images_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax.attacks import projections

# Radii of the accuracy curve, in multiples of the threat model's.
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
# Number of images that are attacked at once.
BATCH = 100
# Numbers of steps at which the other accuracy curve is recorded.
STEPS = (0, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100)


class Threat(NamedTuple):
  """A threat model, with the step size of PGD.

  Attributes:
    epsilon: radius of the ball, for pixels in [0, 1].
    step_size: length of a step of PGD, for pixels in [0, 1].
    norm: 'Linf' or 'L2'.
  """

  epsilon: float
  step_size: float
  norm: str

  def scaled(self, factor: float) -> 'Threat':
    """Returns the threat model with radius and step size multiplied."""
    return Threat(self.epsilon * factor, self.step_size * factor, self.norm)


class Examples(NamedTuple):
  """The test images that a report measures on.

  Attributes:
    images: float32 [N, H, W, C] in [0, 1].
    labels: int32 [N].
    seed: seed of random starts and random directions.
  """

  images: np.ndarray
  labels: np.ndarray
  seed: int

  def dataset(self) -> data_lib.Dataset:
    """Returns the images as uint8; exact if they were loaded from uint8."""
    images = np.rint(self.images * 255).astype(np.uint8)
    return data_lib.Dataset(images, self.labels)


@functools.partial(jax.jit, static_argnames='norm')
def _pgd_step(net, images, centre, labels, epsilon, step_size, *, norm):
  """Takes one step of PGD.

  Returns:
    (images after the step, whether each image was classified correctly before
    it).
  """

  def loss(x):
    logits = net.eval(x).logits
    return losses.cross_entropy(logits, labels).sum(), logits

  gradient, logits = jax.grad(loss, has_aux=True)(images)
  direction = jnp.sign(gradient)
  if norm != 'Linf':
    length = projections.norm_of(gradient, norm, keepdims=True)
    direction = gradient / jnp.maximum(length, 1e-12)
  moved = projections.project(
    images + step_size * direction, centre, epsilon=epsilon, norm=norm
  )
  return moved, images_lib.predicted(logits) == labels


@jax.jit
def _outputs(net, images):
  output = net.eval(images)
  return output.logits, output.embedding, losses.attention_map(output.features)


def _batches(count: int) -> Iterator[tuple[np.ndarray, int]]:
  """Splits rows into batches of one size, so that one program serves all.

  Yields:
    (rows of a batch, how many of them are not padding). The last batch is
    padded with repeats of the last row.
  """
  size = min(BATCH, count)
  for start in range(0, count, size):
    rows = np.arange(start, start + size)
    yield np.minimum(rows, count - 1), min(size, count - start)


def outputs(
  net: nets_lib.Net, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Applies a network to any number of images.

  Args:
    net: the network.
    images: float32 [N, H, W, C] in [0, 1].

  Returns:
    (logits [N, K], embeddings [N, D], attention maps [N, h, w] in [0, 1]).

  Raises:
    ValueError: images that the network does not take.
  """
  images_lib.check(images, shape=net.shape)
  batches = [
    [part[:kept] for part in jax.device_get(_outputs(net, images[rows]))]
    for rows, kept in _batches(len(images))
  ]
  logits, embeddings, attention = zip(*batches, strict=True)
  return (
    np.concatenate(logits),
    np.concatenate(embeddings),
    np.concatenate(attention),
  )


def _uniform_starts(images, keys, threat: Threat):
  """Draws a uniform start in the ball around each image."""
  if threat.epsilon == 0:
    return jnp.asarray(images)
  return attacks.maximise(
    lambda x: x.sum((1, 2, 3)),
    jnp.asarray(images),
    keys,
    epsilon=threat.epsilon,
    step_size=0.0,  # The step of the search must not move the start.
    steps=1,
    norm=threat.norm,
    start='uniform',
  )


def attack(
  net: nets_lib.Net,
  examples: Examples,
  threat: Threat,
  *,
  steps: int,
  record_after: Sequence[int] = (),
) -> tuple[np.ndarray, list[float]]:
  """Attacks images with PGD.

  Args:
    net: the network.
    examples: images and labels.
    threat: radius, step size and norm.
    steps: number of steps.
    record_after: numbers of steps after which the accuracy is recorded.

  Returns:
    (images after the last step, recorded accuracies).

  Raises:
    ValueError: images or labels that the network does not take.
  """
  images_lib.check(examples.images, examples.labels, shape=net.shape)
  correct_after: dict[int, list[np.ndarray]] = {s: [] for s in record_after}
  attacked = []
  keys = attacks.ascent.per_example(
    jax.random.key(examples.seed), len(examples.images)
  )
  for rows, kept in _batches(len(examples.images)):
    centre, labels = examples.images[rows], examples.labels[rows]
    x = _uniform_starts(centre, keys[rows], threat)
    # A step also classifies the images that it starts from. One more than
    # `steps` classifies the last images; its move is dropped.
    for step in range(steps + bool(record_after)):
      moved, correct = _pgd_step(
        net,
        x,
        centre,
        labels,
        threat.epsilon,
        threat.step_size,
        norm=threat.norm,
      )
      if step in correct_after:
        correct_after[step].append(np.asarray(correct)[:kept])
      x = moved if step < steps else x
    attacked.append(np.asarray(x)[:kept])
  accuracies = [
    float(np.concatenate(correct_after[step]).mean()) for step in record_after
  ]
  return np.concatenate(attacked), accuracies


def accuracy_by_epsilon(
  net: nets_lib.Net, examples: Examples, threat: Threat, *, steps: int
) -> dict[str, np.ndarray]:
  """Measures the accuracy under PGD at growing radii.

  Args:
    net: the network.
    examples: images and labels.
    threat: the threat model; the radii are `FACTORS` times its own, with step
      sizes in proportion.
    steps: number of steps of PGD.

  Returns:
    {'epsilon', 'accuracy': [radii]}.
  """
  accuracies = []
  for factor in FACTORS:
    # At radius 0 no step can change the images.
    taken = steps if factor else 0
    _, (accuracy,) = attack(
      net, examples, threat.scaled(factor), steps=taken, record_after=(taken,)
    )
    accuracies.append(accuracy)
  return {
    'epsilon': np.array([threat.epsilon * factor for factor in FACTORS]),
    'accuracy': np.array(accuracies),
  }


def accuracy_by_steps(
  net: nets_lib.Net, examples: Examples, threat: Threat
) -> dict[str, np.ndarray]:
  """Measures the accuracy along one run of PGD.

  Returns:
    {'steps', 'accuracy': [len(STEPS)]}.
  """
  _, accuracies = attack(
    net, examples, threat, steps=STEPS[-1], record_after=STEPS
  )
  return {'steps': np.array(STEPS), 'accuracy': np.array(accuracies)}


def clean_and_attacked(
  net: nets_lib.Net, examples: Examples, threat: Threat, *, steps: int
) -> dict[str, np.ndarray]:
  """Attacks images and applies the network before and after the attack.

  Returns:
    {'adversarial': attacked images; 'clean_logits', 'clean_embedding',
    'clean_attention', and the same for 'adversarial_...': as of `outputs`}.
  """
  adversarial, _ = attack(net, examples, threat, steps=steps)
  arrays = {'adversarial': adversarial}
  for name, images in (
    ('clean', examples.images),
    ('adversarial', adversarial),
  ):
    logits, embedding, attention = outputs(net, images)
    arrays |= {
      f'{name}_logits': logits,
      f'{name}_embedding': embedding,
      f'{name}_attention': attention,
    }
  return arrays
