"""Checks for reasons to doubt a robust accuracy.

Each check returns flags: name -> explanation, empty if all is well.
"""

import numpy as np

# Constants of the authors' package: forward passes that are compared, largest
# distance between their normalised logits, tolerance for probabilities, and
# by how much Square may lower the robust accuracy.
_FORWARDS = 5
_DISTANCE = 1e-4
_PROBABILITY = 1e-5
_GAIN = 0.002


def check_first_batch(engine, rows) -> dict[str, str]:
  """Checks the logits of one batch.

  A network that is known to draw random numbers is not checked for it.

  Args:
    engine: an `Engine`.
    rows: int [B], of the points.
  """
  flags = {}
  passes = [engine.logits(rows) for _ in range(_FORWARDS)]
  logits = passes[0].astype(np.float32)
  if engine.settings.samples == 1 and _differ(passes, engine.labels[rows]):
    flags['randomised'] = (
      'The network returns different logits for the same images. Its accuracy '
      "is overstated: use version='rand' with a function of (images, keys)."
    )
  sums = np.abs(logits.sum(-1) - 1)
  low, high = logits.min(), logits.max()
  if high < 1 + _PROBABILITY and low > -_PROBABILITY:
    if sums.max() < _PROBABILITY:
      flags['softmax_output'] = (
        'The outputs are probabilities. Gradients vanish behind a softmax: '
        'return the logits before it.'
      )
  if passes[0].dtype != np.float32:
    flags['precision'] = (
      f'The logits that decide are {passes[0].dtype}, not float32: rounding '
      'may decide instead. Pass a float32 function, and the fast one as '
      'search_logits_fn.'
    )
  return flags


def _differ(passes: list[np.ndarray], labels: np.ndarray) -> bool:
  """Returns whether repeated passes differ.

  Args:
    passes: logits [B, K] of each.
    labels: int [B].
  """
  normalised = []
  for logits in passes:
    logits = logits.astype(np.float32)
    # Logits that are no numbers have a flag of their own.
    logits = np.where(np.isfinite(logits), logits, 0)
    normalised.append(logits / np.maximum(np.linalg.norm(logits), 1e-12))
  distance = max(np.linalg.norm(n - normalised[0]) for n in normalised)
  correct = {int((logits.argmax(-1) == labels).sum()) for logits in passes}
  return len(correct) > 1 or bool(distance > _DISTANCE)


def check_classes(classes: int) -> dict[str, str]:
  """Checks whether there are too few classes for some attacks.

  Args:
    classes: of the network.
  """
  if classes >= 4:
    return {}
  changes = {
    1: 'no attack applies',
    2: 'DLR is the margin of the two logits, there is one target class',
    3: "targeted DLR has DLR's denominator, there are two target classes",
  }
  return {
    'few_classes': (
      f'With {classes} class{"es" if classes > 1 else ""} the attacks are '
      f'reduced: {changes[classes]}.'
    )
  }


def check_outcome(
  accuracy_after: dict[str, float],
  *,
  zero_gradients: int,
  not_finite: int,
  unconfirmed: int,
) -> dict[str, str]:
  """Checks what happened during the attacks.

  Args:
    accuracy_after: attack -> robust accuracy after it, in order.
    zero_gradients: points whose first gradient of DLR was exactly 0.
    not_finite: points with logits that are NaN or infinite.
    unconfirmed: images that fooled the search function, but not the one that
      decides.
  """
  flags = {}
  if zero_gradients:
    flags['zero_gradient'] = (
      f'{zero_gradients} points have a DLR gradient of exactly 0: gradients '
      'are masked (a saturated, quantised or thresholded network), and '
      'gradient-based attacks prove little.'
    )
  if not_finite:
    flags['not_finite'] = (
      f'{not_finite} points have logits that are NaN or infinite, clean or '
      'attacked. No prediction counts as a wrong one. Where gradients are NaN, '
      'attacks cannot search: the accuracy may be overstated.'
    )
  if unconfirmed:
    flags['unconfirmed'] = (
      f'{unconfirmed} images fooled the function used for the search, but not '
      'the one that decides; they count as robust.'
    )
  others = [v for k, v in accuracy_after.items() if k != 'square']
  if 'square' in accuracy_after and len(accuracy_after) > 2:
    if accuracy_after['square'] < min(others) - _GAIN:
      flags['square_improves'] = (
        'Square, which uses no gradients, breaks points that gradient-based '
        'attacks did not: gradients are masked.'
      )
  return flags
