"""What identifies a network: the logit of the label of each clean image.

Predicted classes would not do, since accurate networks agree on them, and nor
would a digest, since another device computes slightly different logits.
"""

import numpy as np

# Largest difference of one network's logits on two devices, relative to their
# size, each as root mean square over the points. Multiplications with reduced
# precision on GPUs explain a thousandth; networks that were trained differently
# are further apart.
_TOLERANCE = 0.005


def rounded(logits: np.ndarray) -> list[float | None]:
  """Returns logits as JSON, with six digits; None for those not finite.

  Args:
    logits: float32 [N].
  """
  return [float(f'{v:.6g}') if np.isfinite(v) else None for v in logits]


def is_same(saved: list[float | None], logits: np.ndarray) -> bool:
  """Returns whether two lists of logits are those of one network.

  Args:
    saved: of `rounded`.
    logits: float32 [N].
  """
  before = np.array(saved, float)  # None becomes NaN.
  now = np.where(np.isfinite(logits), logits, np.nan)
  finite = ~np.isnan(before)
  if before.shape != now.shape or np.any(np.isnan(now) == finite):
    return False
  size = np.linalg.norm(before[finite])
  return bool(np.linalg.norm(now[finite] - before[finite]) <= _TOLERANCE * size)
