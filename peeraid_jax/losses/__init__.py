"""Losses per example.

The class axis is the last one. Nothing is averaged over the batch: callers
take the mean, and multiply by squared temperatures where a paper does.
"""

from peeraid_jax.losses.attention import (
  angular_distance,
  attention_map,
  triplet,
)
from peeraid_jax.losses.classes import most_confusing
from peeraid_jax.losses.entropy import (
  cross_entropy,
  kl,
  kl_mean,
  smoothed_cross_entropy,
  soft_cross_entropy,
)
from peeraid_jax.losses.margins import dlr, lead, margin, targeted_dlr
from peeraid_jax.losses.mart import misclassification_kl, runner_up

__all__ = [
  'angular_distance',
  'attention_map',
  'cross_entropy',
  'dlr',
  'kl',
  'kl_mean',
  'lead',
  'margin',
  'misclassification_kl',
  'most_confusing',
  'runner_up',
  'smoothed_cross_entropy',
  'soft_cross_entropy',
  'targeted_dlr',
  'triplet',
]
