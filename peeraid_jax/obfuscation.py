"""Is a network robust, or are its gradients masked? The usual checks.

Reference:
  Athalye et al., Obfuscated Gradients Give a False Sense of Security, 2018;
  Carlini et al., On Evaluating Adversarial Robustness, 2019.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peeraid_jax import evaluate
from peeraid_jax import nets as nets_lib

# Radii, in multiples of the threat model's.
_FACTORS = (1, 2, 4, 8)
# Draws of random noise, the worst of which counts.
_NOISE = 20
# By how much an order may be violated: one example in a hundred, or two.
_TOLERANCE = 0.01
_EXAMPLES = 2
# What is left where any image can be turned into any other.
_NOTHING = 0.01


def radii(epsilon: float, norm: str, size: int) -> list[float]:
  """Returns growing radii; the last reaches the box's middle from anywhere.

  Args:
    epsilon: of the threat model, the first of them.
    norm: 'Linf' or 'L2'.
    size: numbers in an image.
  """
  everything = 0.5 if norm == 'Linf' else 0.5 * math.sqrt(size)
  found = [epsilon * factor for factor in _FACTORS]
  return [r for r in found if r < everything] + [everything]


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
  """Measures what `judge` needs.

  Args:
    nets: role -> network; those besides `roles` are sources of transfer.
    data: a `Dataset`.
    epsilon, step_size, norm: the threat model, as in `attacks.pgd`.
    roles: networks that are examined.
    batch_size, seed: as in `evaluate.make_evaluate`.
    tick: as there.

  Returns:
    role -> {'fgsm', 'pgd20', 'pgd100', 'noise': accuracies, 'by_epsilon':
    radius -> accuracy under PGD-20, 'transfer': source -> accuracy under its
    PGD-20, 'n': examples}.
  """

  def accuracies(attacks, transfer=(), **settings):
    run = evaluate.make_evaluate(
      norm=norm,
      batch_size=batch_size,
      seed=seed,
      **{'epsilon': epsilon, 'step_size': step_size, **settings},
    )
    wanted = dict.fromkeys(roles, attacks)
    return run(nets, data, wanted, transfer, tick)

  transfers = [
    evaluate.Transfer(role, source, 'pgd20')
    for role in roles
    for source in nets
    if source != role
  ]
  shape = data.images.shape[1:]
  plain = accuracies(('fgsm', 'pgd20', 'pgd100'), transfers)
  # The start of PGD, and no steps.
  noise = accuracies(('pgd1',), step_size=0.0, restarts=_NOISE)
  ladder = {
    radius: accuracies(('pgd20',), epsilon=radius, step_size=radius / 8)
    for radius in radii(epsilon, norm, math.prod(shape))
  }
  told: dict[str, dict[str, Any]] = {}
  for role in roles:
    told[role] = {k: float(v.mean()) for k, v in plain.roles[role].items()}
    told[role]['noise'] = float(noise.roles[role]['pgd1'].mean())
    told[role]['by_epsilon'] = {
      radius: float(found.roles[role]['pgd20'].mean())
      for radius, found in ladder.items()
    }
    told[role]['transfer'] = {
      t.source: float(plain.transfer[t.name].mean())
      for t in transfers
      if t.target == role
    }
    told[role]['n'] = len(data.labels)
  return told


def judge(
  measured: Mapping[str, Any],
  *,
  apgd_t: float | None = None,
  square: float | None = None,
) -> dict[str, dict[str, Any]]:
  """Judges whether accuracies are those of a network with honest gradients.

  Args:
    measured: of one role, from `measure`.
    apgd_t, square: robust accuracies after these attacks alone, if known.

  Returns:
    check -> {'passed': bool, 'values': the accuracies it compares, 'why': in
    words}. An order may be violated by one per cent, or two examples.
  """
  # And a hair, for rounding.
  slack = max(_TOLERANCE, _EXAMPLES / measured['n']) + 1e-9
  found: dict[str, dict[str, Any]] = {}

  def add(name, passed, values, why):
    found[name] = {'passed': bool(passed), 'values': values, 'why': why}

  def stronger(name, strong, weak, why):
    values = {k: measured[k] for k in (strong, weak)}
    add(name, values[strong] <= values[weak] + slack, values, why)

  stronger(
    'iterative_beats_single_step',
    'pgd20',
    'fgsm',
    'where one step does more than many, the gradient of later points misleads',
  )
  stronger(
    'more_steps_are_no_weaker',
    'pgd100',
    'pgd20',
    'where a longer attack is weaker, it does not follow the loss',
  )
  stronger(
    'gradient_beats_noise',
    'pgd20',
    'noise',
    'where random noise of the same size does more than PGD, the gradient '
    'says nothing',
  )
  by_epsilon = measured['by_epsilon']
  curve = np.array(list(by_epsilon.values()))
  add(
    'accuracy_falls_to_zero',
    np.all(np.diff(curve) <= slack) and curve[-1] <= max(_NOTHING, slack),
    {f'{radius:.4g}': value for radius, value in by_epsilon.items()},
    'an attack that may turn any image grey has to break all; if it does not, '
    'it is the attack that fails',
  )
  if measured['transfer']:
    add(
      'white_box_beats_transfer',
      measured['pgd20'] <= min(measured['transfer'].values()) + slack,
      {'pgd20': measured['pgd20'], **measured['transfer']},
      'images that attack another network should not do more than those that '
      'attack this one',
    )
  if apgd_t is not None and square is not None:
    add(
      'gradients_beat_queries',
      apgd_t <= square + slack,
      {'apgd_t': apgd_t, 'square': square},
      'Square needs no gradient; where it does more than APGD-T, gradients '
      'are masked',
    )
  return found
