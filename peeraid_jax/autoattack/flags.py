"""What makes a robust accuracy doubtful, in words."""

import numpy as np

# As AutoAttack's package: forward passes that are compared, distance of
# normalised logits, rounding of probabilities, gain of Square.
_FORWARDS = 5
_DISTANCE = 1e-4
_PROBABILITY = 1e-5
_GAIN = 0.002


def of_first_batch(engine, rows, *, draws: bool) -> dict[str, str]:
  """Checks what a network says of one batch.

  Args:
    engine: an `Engine`.
    rows: int [B].
    draws: whether the network is known to draw.
  """
  found = {}
  every = [engine.logits(rows) for _ in range(_FORWARDS)]
  logits = every[0].astype(np.float32)
  if not draws:
    unit = [
      e.astype(np.float32)
      / np.maximum(np.linalg.norm(e.astype(np.float32)), 1e-12)
      for e in every
    ]
    apart = max(np.linalg.norm(u - unit[0]) for u in unit)
    right = {int((e.argmax(-1) == engine.labels[rows]).sum()) for e in every}
    if len(right) > 1 or apart > _DISTANCE:
      found['randomised'] = (
        'The network says different things of the same images. Its accuracy '
        "is overstated: use version='rand' with a function of (images, keys)."
      )
  sums = np.abs(logits.sum(-1) - 1)
  low, high = logits.min(), logits.max()
  if high < 1 + _PROBABILITY and low > -_PROBABILITY:
    if sums.max() < _PROBABILITY:
      found['softmax_output'] = (
        'The outputs are probabilities. Gradients vanish behind a softmax: '
        'give the logits before it.'
      )
  if every[0].dtype != np.float32:
    found['precision'] = (
      f'The logits that decide are {every[0].dtype}, not float32: rounding '
      'may decide instead. Give a float32 function, and the fast one as '
      'search_logits_fn.'
    )
  return found


def few_classes(classes: int) -> dict[str, str]:
  """Says which attacks few classes reduce."""
  if classes >= 4:
    return {}
  changed = {
    1: 'no attack applies',
    2: 'DLR is the margin of the two logits, there is one target class',
    3: "targeted DLR has DLR's denominator, there are two target classes",
  }
  return {
    'few_classes': (
      f'With {classes} class{"es" if classes > 1 else ""} the attacks are '
      f'reduced: {changed[classes]}.'
    )
  }


def of_outcome(
  accuracy_after: dict[str, float],
  *,
  zero_gradients: int,
  not_finite: int,
  unconfirmed: int,
) -> dict[str, str]:
  """Checks what the attacks found.

  Args:
    accuracy_after: attack -> robust accuracy after it, in order.
    zero_gradients: points whose first gradient of DLR was exactly 0.
    not_finite: points with logits that are NaN or infinite.
    unconfirmed: candidates that only the search took for broken.
  """
  found = {}
  if zero_gradients:
    found['zero_gradient'] = (
      f'{zero_gradients} points have a DLR gradient of exactly 0: gradients '
      'are masked (a saturated, quantised or thresholded network), and '
      'attacks with gradients say little.'
    )
  if not_finite:
    found['not_finite'] = (
      f'{not_finite} points have logits that are NaN or infinite: what they '
      'are classified as is an accident.'
    )
  if unconfirmed:
    found['unconfirmed'] = (
      f'{unconfirmed} images fooled the function that was searched with and '
      'not the one that decides; they count as robust.'
    )
  others = [v for k, v in accuracy_after.items() if k != 'square']
  if 'square' in accuracy_after and len(accuracy_after) > 2:
    if accuracy_after['square'] < min(others) - _GAIN:
      found['square_improves'] = (
        'Square, which uses no gradients, breaks points that the attacks '
        'with gradients did not: gradients are masked.'
      )
  return found
