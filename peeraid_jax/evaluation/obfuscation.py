"""Checks for masked gradients: is a network robust, or do attacks fail?

A network can make gradient attacks fail without being robust, for example by
rounding its input. `measure` runs attacks whose order of strength is known for
networks with useful gradients, and `judge` checks that order.

Reference:
  Athalye et al., Obfuscated Gradients Give a False Sense of Security, 2018
  (section 3.1); Carlini et al., On Evaluating Adversarial Robustness, 2019.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peeraid_jax import nets as nets_lib
from peeraid_jax.evaluation import accuracy

# Radii of the accuracy curve, in multiples of the threat model's.
_RADIUS_FACTORS = (1, 2, 4, 8)
# Draws of random noise; an example counts as correct if all draws are.
_NOISE_DRAWS = 20
# An expected order of two accuracies may be violated by one example in a
# hundred, or by two examples, whichever is more.
_TOLERANCE = 0.01
_TOLERATED_EXAMPLES = 2
# Highest accuracy that counts as zero, when any image can be turned grey.
_ZERO_ACCURACY = 0.01

# Check -> the attack that should be stronger, the weaker attack, and what it
# means if the order is reversed.
_ORDERS = {
  'iterative_beats_single_step': (
    'pgd20',
    'fgsm',
    'if one step is stronger than many, gradients away from the clean image '
    'mislead the attack',
  ),
  'more_steps_are_no_weaker': (
    'pgd100',
    'pgd20',
    'if a longer attack is weaker, its steps do not increase the loss',
  ),
  'gradient_beats_noise': (
    'pgd20',
    'noise',
    'if random noise of the same size is stronger than PGD, the gradient '
    'carries no information',
  ),
}


def radii(epsilon: float, norm: str, size: int) -> list[float]:
  """Returns increasing radii, from the threat model's to one that beats all.

  Within the last radius, every image in [0, 1] can be turned into uniform
  grey, so that no network can be robust.

  Args:
    epsilon: radius of the threat model, the first of the list.
    norm: 'Linf' or 'L2'.
    size: numbers per image, H W C.
  """
  to_grey = 0.5 if norm == 'Linf' else 0.5 * math.sqrt(size)
  multiples = [epsilon * factor for factor in _RADIUS_FACTORS]
  return [radius for radius in multiples if radius < to_grey] + [to_grey]


def measure(
  nets: Mapping[str, nets_lib.Net],
  data,
  *,
  epsilon: float,
  step_size: float,
  norm: str,
  roles,
  batch_size: int = 256,
  seed: int = 0,
  tick: Callable[[str, str, int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
  """Measures the accuracies that `judge` needs.

  Args:
    nets: role -> network; all of them are sources of transfer attacks.
    data: a `Dataset`.
    epsilon, step_size, norm: the threat model, as in `attacks.pgd`.
    roles: roles of the networks that are examined.
    batch_size, seed: as in `accuracy.make_evaluate`.
    tick: as in its evaluator.

  Returns:
    role -> {'fgsm', 'pgd20', 'pgd100', 'noise': accuracies, 'by_epsilon':
    radius -> accuracy under PGD-20, 'transfer': source -> accuracy on images
    that attack the source by PGD-20, 'n': number of examples}.
  """

  def evaluate(attacks, transfers=(), **changed) -> accuracy.Outcomes:
    settings = {'epsilon': epsilon, 'step_size': step_size, **changed}
    run = accuracy.make_evaluate(
      norm=norm, batch_size=batch_size, seed=seed, **settings
    )
    return run(nets, data, dict.fromkeys(roles, attacks), transfers, tick)

  transfers = [
    accuracy.Transfer(role, source, 'pgd20')
    for role in roles
    for source in nets
    if source != role
  ]
  size = math.prod(data.images.shape[1:])
  at_epsilon = evaluate(('fgsm', 'pgd20', 'pgd100'), transfers)
  # With steps of length 0, PGD is only its random start.
  noise = evaluate(('pgd1',), step_size=0.0, restarts=_NOISE_DRAWS)
  by_radius = {
    radius: evaluate(('pgd20',), epsilon=radius, step_size=radius / 8)
    for radius in radii(epsilon, norm, size)
  }
  return {
    role: _averaged(role, at_epsilon, noise, by_radius, transfers)
    for role in roles
  }


def _averaged(
  role: str,
  at_epsilon: accuracy.Outcomes,
  noise: accuracy.Outcomes,
  by_radius: Mapping[float, accuracy.Outcomes],
  transfers,
) -> dict[str, Any]:
  """Returns the accuracies of one role, as `measure` does."""
  own = at_epsilon.roles[role]
  return {
    **{name: float(correct.mean()) for name, correct in own.items()},
    'noise': float(noise.roles[role]['pgd1'].mean()),
    'by_epsilon': {
      radius: float(outcomes.roles[role]['pgd20'].mean())
      for radius, outcomes in by_radius.items()
    },
    'transfer': {
      transfer.source: float(at_epsilon.transfer[transfer.name].mean())
      for transfer in transfers
      if transfer.target == role
    },
    'n': len(own['pgd20']),
  }


def judge(
  measured: Mapping[str, Any],
  *,
  apgd_t: float | None = None,
  square: float | None = None,
) -> dict[str, dict[str, Any]]:
  """Checks whether accuracies are those of a network with useful gradients.

  Args:
    measured: accuracies of one role, as `measure` returns them.
    apgd_t, square: robust accuracies under each of these attacks alone. If
      one is None, the check that compares them is left out.

  Returns:
    check -> {'passed': bool, 'values': the accuracies it compares, 'why':
    what a failure means}. An expected order may be violated by one example in
    a hundred, or by two examples.
  """
  # The last term is for rounding.
  slack = max(_TOLERANCE, _TOLERATED_EXAMPLES / measured['n']) + 1e-9
  checks: dict[str, dict[str, Any]] = {}

  def add(name, passed, values, why):
    checks[name] = {'passed': bool(passed), 'values': values, 'why': why}

  for name, (strong, weak, why) in _ORDERS.items():
    values = {attack: measured[attack] for attack in (strong, weak)}
    add(name, values[strong] <= values[weak] + slack, values, why)
  by_epsilon = measured['by_epsilon']
  curve = np.array(list(by_epsilon.values()))
  add(
    'accuracy_falls_to_zero',
    np.all(np.diff(curve) <= slack) and curve[-1] <= max(_ZERO_ACCURACY, slack),
    {f'{radius:.4g}': value for radius, value in by_epsilon.items()},
    'an attack that may turn every image grey must succeed on all; if it does '
    'not, the attack fails and the network need not be robust',
  )
  if measured['transfer']:
    add(
      'white_box_beats_transfer',
      measured['pgd20'] <= min(measured['transfer'].values()) + slack,
      {'pgd20': measured['pgd20'], **measured['transfer']},
      'if images that attack another network are stronger than those that '
      'attack this one, the gradients of this one mislead',
    )
  if apgd_t is not None and square is not None:
    add(
      'gradients_beat_queries',
      apgd_t <= square + slack,
      {'apgd_t': apgd_t, 'square': square},
      'Square uses no gradient; if it is stronger than APGD-T, gradients are '
      'masked',
    )
  return checks
