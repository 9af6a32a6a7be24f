"""What a report shows of a network, as arrays.

Attacks here are PGD on the cross-entropy from a uniform start, clipped to
[0, 1], a step at a time: one compiled step serves every radius and number of
steps.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import attacks, losses, obfuscation
from peeraid_jax import nets as nets_lib
from peeraid_jax.attacks import projections

# Radii of a curve, in multiples of the threat model's.
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
# Images that are attacked at once.
BATCH = 100
# Draws of random noise, the worst of which counts.
NOISE_DRAWS = 20
# Steps of a curve.
STEPS = (0, 1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100)


class Threat(NamedTuple):
  """The attack of a run's config.

  Attributes:
    epsilon, step_size: in units of pixels in [0, 1].
    norm: 'Linf' or 'L2'.
  """

  epsilon: float
  step_size: float
  norm: str

  def scaled(self, factor: float) -> 'Threat':
    """Returns the same at another radius, with steps in proportion."""
    return Threat(self.epsilon * factor, self.step_size * factor, self.norm)


class Points(NamedTuple):
  """Images that a report looks at.

  Attributes:
    images: float32 [N, H, W, C] in [0, 1].
    labels: int32 [N].
    seed: of attacks' starts.
  """

  images: np.ndarray
  labels: np.ndarray
  seed: int


@functools.partial(jax.jit, static_argnames='norm')
def _step(net, images, centre, labels, epsilon, step_size, *, norm):
  """One step of PGD, and what the network says before it."""

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
  return moved, jnp.argmax(logits, axis=-1) == labels


@jax.jit
def _outputs(net, images):
  output = net.eval(images)
  return output.logits, output.embedding, losses.attention_map(output.features)


def _chunks(count: int):
  """Yields (rows to compute, how many of them count), of one size each."""
  size = min(BATCH, count)
  for start in range(0, count, size):
    rows = np.arange(start, start + size)
    yield np.minimum(rows, count - 1), min(size, count - start)


def outputs(net: nets_lib.Net, images) -> tuple[np.ndarray, ...]:
  """Returns logits [N, K], embeddings [N, D], attention maps [N, h, w]."""
  found = [
    [part[:kept] for part in jax.device_get(_outputs(net, images[rows]))]
    for rows, kept in _chunks(len(images))
  ]
  return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _starts(images, keys, threat: Threat):
  """Uniform starts in the ball, drawn per image."""
  if threat.epsilon == 0:
    return jnp.asarray(images)
  return attacks.maximise(
    lambda x: x.sum((1, 2, 3)),
    jnp.asarray(images),
    keys,
    epsilon=threat.epsilon,
    step_size=0.0,
    steps=1,
    norm=threat.norm,
    start='uniform',
  )


def attack(
  net: nets_lib.Net,
  points: Points,
  threat: Threat,
  *,
  steps: int,
  looks: Sequence[int] = (),
) -> tuple[np.ndarray, list[float]]:
  """Attacks images.

  Args:
    net: the network.
    points: images and labels.
    threat: radius, step and norm.
    steps: number of gradients.
    looks: after how many steps the accuracy is wanted.

  Returns:
    (images after the last step, accuracy at each look).
  """
  hits: dict[int, list[np.ndarray]] = {step: [] for step in looks}
  last = []
  keys = attacks.ascent.per_example(
    jax.random.key(points.seed), len(points.images)
  )
  for rows, kept in _chunks(len(points.images)):
    centre, labels = points.images[rows], points.labels[rows]
    x = _starts(centre, keys[rows], threat)
    for step in range(steps + bool(looks)):
      moved, correct = _step(
        net,
        x,
        centre,
        labels,
        threat.epsilon,
        threat.step_size,
        norm=threat.norm,
      )
      if step in hits:
        hits[step].append(np.asarray(correct)[:kept])
      x = moved if step < steps else x
    last.append(np.asarray(x)[:kept])
  accuracies = [float(np.concatenate(hits[step]).mean()) for step in looks]
  return np.concatenate(last), accuracies


def by_epsilon(net, points: Points, threat: Threat, *, steps: int):
  """Returns {'epsilon', 'accuracy'} under PGD at growing radii."""
  accuracies = [
    # Where nothing may change, there is nothing to search for.
    attack(net, points, threat.scaled(f), steps=taken, looks=(taken,))[1][0]
    for f in FACTORS
    for taken in (steps if f else 0,)
  ]
  return {
    'epsilon': np.array([threat.epsilon * f for f in FACTORS]),
    'accuracy': np.array(accuracies),
  }


def by_steps(net, points: Points, threat: Threat):
  """Returns {'steps', 'accuracy'} along one PGD attack."""
  _, accuracies = attack(net, points, threat, steps=STEPS[-1], looks=STEPS)
  return {'steps': np.array(STEPS), 'accuracy': np.array(accuracies)}


def pictures(net, points: Points, threat: Threat, *, steps: int):
  """Returns clean and attacked images, and what the network makes of both.

  Returns:
    {'clean', 'adversarial': images; '<these>_logits', '_embedding',
    '_attention': as of `outputs`}.
  """
  adversarial, _ = attack(net, points, threat, steps=steps)
  found = {'adversarial': adversarial}
  for name, images in (('clean', points.images), ('adversarial', adversarial)):
    logits, embedding, attention = outputs(net, images)
    found |= {
      f'{name}_logits': logits,
      f'{name}_embedding': embedding,
      f'{name}_attention': attention,
    }
  return found


def confusion(labels, logits, classes: int) -> np.ndarray:
  """Returns counts [true class, predicted class]."""
  found = np.zeros((classes, classes), int)
  np.add.at(found, (labels, logits.argmax(-1)), 1)
  return found


def tsne(clean, adversarial, *, seed: int):
  """Returns positions {'clean', 'adversarial'} [N, 2] of embeddings.

  Reference:
    van der Maaten and Hinton, Visualizing Data using t-SNE, 2008.
  """
  from sklearn import manifold

  both = np.concatenate([clean, adversarial])
  made = manifold.TSNE(
    n_components=2,
    perplexity=min(30, len(both) / 4),
    init='pca',
    random_state=seed,
  )
  positions = made.fit_transform(both)
  return {
    'clean': positions[: len(clean)],
    'adversarial': positions[len(clean) :],
  }


def masked(nets, role: str, points: Points, threat: Threat):
  """Returns what `obfuscation.judge` needs of one role.

  Args:
    nets: role -> network; the others are sources of transfer.
    role: the network that is examined.
    points, threat: as in `attack`.
  """
  net = nets[role]

  def share(images):
    return float((outputs(net, images)[0].argmax(-1) == points.labels).mean())

  def pgd20(source, against):
    return attack(source, points, against, steps=20)[0]

  one_step = [
    np.asarray(
      _step(
        net,
        points.images[rows],
        points.images[rows],
        points.labels[rows],
        threat.epsilon,
        threat.epsilon,
        norm=threat.norm,
      )[0]
    )[:kept]
    for rows, kept in _chunks(len(points.images))
  ]
  correct = np.ones(len(points.labels), bool)
  for draw in range(NOISE_DRAWS):
    keys = attacks.ascent.per_example(
      jax.random.key(points.seed + draw), len(points.images)
    )
    noisy = np.asarray(_starts(points.images, keys, threat))
    correct &= outputs(net, noisy)[0].argmax(-1) == points.labels
  _, (short, long) = attack(net, points, threat, steps=100, looks=(20, 100))
  radii = obfuscation.radii(threat.epsilon, threat.norm, points.images[0].size)
  return {
    'fgsm': share(np.concatenate(one_step)),
    'pgd20': short,
    'pgd100': long,
    'noise': float(correct.mean()),
    'by_epsilon': {
      radius: share(pgd20(net, Threat(radius, radius / 8, threat.norm)))
      for radius in radii
    },
    'transfer': {
      source: share(pgd20(other, threat))
      for source, other in nets.items()
      if source != role
    },
    'n': len(points.labels),
  }
