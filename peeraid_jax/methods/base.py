"""The contract of a method: two pure functions over named networks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from peeraid_jax import losses
from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches

Nets = Mapping[str, nets_lib.Net]
Metrics = Mapping[str, chex.Array]
# `attacks.maximise` with the config's settings: (objective, images, keys)
Maximise = Callable[..., chex.Array]


class Method(NamedTuple):
  """An algorithm, built by a factory that closes over its hyperparameters.

  Attributes:
    trained: roles that get a gradient and an optimizer.
    fixed: roles that do not.
    craft: (nets, batch, keys) -> adversarial images, or a dict that holds
      them as 'images'; the inner maximisation. Its result gets no gradient.
    loss: (nets, batch, adv, keys) -> (scalar, (nets, metrics)): one joint
      scalar whose gradient trains all roles, the nets with their new running
      statistics, and scalars to report.
    draws_by_class: whether `craft` draws training images with `batch.pool`.
    per_example: whether what `craft` does with an example depends on that
      alone, and all that it returns has one entry per example.

  `keys` holds one key per example, [B].
  """

  trained: tuple[str, ...]
  fixed: tuple[str, ...]
  craft: Callable[[Nets, batches.Batch, chex.PRNGKey], Any]
  loss: Callable[..., tuple[chex.Array, tuple[Nets, Metrics]]]
  draws_by_class: bool = False
  per_example: bool = True


# The authors' reductions of KL over classes, by PyTorch's names: 'mean'
# divides by the number of classes, which the papers' equations do not.
REDUCTIONS = {'batchmean': losses.kl, 'mean': losses.kl_mean}


def ascend_cross_entropy(
  maximise: Maximise, *, train_mode: bool = False
) -> Callable[..., dict[str, Any]]:
  """Returns a `craft` that maximises the student's cross-entropy.

  Args:
    maximise: the inner maximisation.
    train_mode: attack with the batch's own statistics, which updates the
      running ones at every step: what some authors' code does.

  Returns:
    craft, with the result {'images': adversarial ones}; in train mode also
    'batch_stats', the student's after the attack: see `attacked`.
  """

  def craft(nets, batch, keys):
    student = nets['student']
    value = lambda logits: losses.cross_entropy(logits, batch.labels)

    def by_running(x):
      return value(student.eval(x).logits)

    def by_batch(x, stats):
      output, moved = student.replace(batch_stats=stats).train(x)
      return value(output.logits), moved.batch_stats

    if not train_mode:
      return {'images': maximise(by_running, batch.images, keys)}
    images, stats = maximise(
      by_batch, batch.images, keys, carry=student.batch_stats
    )
    return {'images': images, 'batch_stats': stats}

  return craft


def attacked(student: nets_lib.Net, adv: Mapping[str, Any]) -> nets_lib.Net:
  """Returns a student as `ascend_cross_entropy` left it."""
  return student.replace(
    batch_stats=adv.get('batch_stats', student.batch_stats)
  )


def ascend_divergence(
  maximise: Maximise, role: str
) -> Callable[..., dict[str, chex.Array]]:
  """Returns a `craft` that leads the student away from a clean prediction.

  It maximises KL(r(x) || s(x*)), all in eval mode.

  Args:
    maximise: the inner maximisation.
    role: r, whose prediction that is; it is computed once.

  Returns:
    craft, with the result {'images': adversarial ones, 'clean_logits':
    [B, C], r's}.
  """

  def craft(nets, batch, keys):
    target = nets[role].eval(batch.images).logits

    def objective(images):
      return losses.kl(target, nets['student'].eval(images).logits)

    images = maximise(objective, batch.images, keys)
    return {'images': images, 'clean_logits': target}

  return craft


def check_weights(**weights: float) -> None:
  """Checks hyperparameters that multiply a term of a loss.

  Raises:
    ValueError: one is negative.
  """
  for name, value in weights.items():
    if not value >= 0:
      raise ValueError(f'method.kwargs.{name}={value} should be at least 0')


def check_shares(**shares: float) -> None:
  """Checks hyperparameters that divide 1 between two terms.

  Raises:
    ValueError: one is not in [0, 1].
  """
  for name, value in shares.items():
    if not 0 <= value <= 1:
      raise ValueError(f'method.kwargs.{name}={value} should be in [0, 1]')


def check_temperatures(**temperatures: float) -> None:
  """Checks hyperparameters that divide logits.

  Raises:
    ValueError: one is not positive.
  """
  for name, value in temperatures.items():
    if not value > 0:
      raise ValueError(f'method.kwargs.{name}={value} should be above 0')


def check_choice(name: str, value: str, known) -> None:
  """Checks a hyperparameter that is one of a few words.

  Raises:
    ValueError: it is none of them; the known ones are listed.
  """
  if value not in known:
    raise ValueError(
      f'method.kwargs.{name}={value!r} is unknown; known: {", ".join(known)}'
    )


def accuracy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Share of correct predictions in a batch, a scalar."""
  return jnp.mean(jnp.argmax(logits, axis=-1) == labels)
