"""The section of loss landscapes."""

import functools
from typing import Any

import numpy as np

from peeraid_jax.report import charts, landscape, pictures, runs, theme
from peeraid_jax.report.sections import base

# Number of images over which the loss is averaged.
IMAGES = 100
# Steps of PGD for the landscape whose images are attacked at each point.
ATTACK_STEPS = 10
# The colour scale ends at this percentile of the losses; higher losses, far
# from the centre, would hide what happens near it.
_HIGHEST_PERCENTILE = 80


def _measure(data: base.ReportData, run: runs.Run) -> dict[str, Any]:
  """Measures the landscapes of a run.

  Returns:
    'around_weights', 'along_weights' and 'around_images' -> arrays, as of the
    functions of `landscape`.
  """
  examples, size = data.some_examples(IMAGES), data.landscape_size
  count = len(examples.labels)
  attacked = data.clean_and_attacked(run)['adversarial'][data.rows(IMAGES)]
  measured = functools.partial(data.measured, run, n=count, size=size)
  return {
    'around_weights': measured(
      'weights',
      lambda: landscape.around_weights(run.net, examples, attacked, size=size),
    ),
    'along_weights': measured(
      'attacked_weights',
      lambda: landscape.along_weights(
        run.net, examples, run.threat, size=size, steps=ATTACK_STEPS
      ),
    ),
    'around_images': measured(
      'inputs',
      lambda: landscape.around_images(
        run.net, examples, run.threat.epsilon, size=size
      ),
    ),
  }


def _scale(losses: list[np.ndarray]) -> tuple[float, float]:
  """Returns the ends of one colour scale for the surfaces of all runs."""
  low = min(loss.min() for loss in losses)
  high = max(np.percentile(loss, _HIGHEST_PERCENTILE) for loss in losses)
  return float(low), float(max(high, low + 1e-6))


def _line_panel(
  data: base.ReportData, count: int, measured: dict[str, dict[str, Any]]
) -> theme.Panel:
  """Returns the loss of all runs along a direction of their weights."""
  along = {label: arrays['along_weights'] for label, arrays in measured.items()}
  return theme.Panel(
    'landscape-attacked',
    'Loss along a direction of weights, images attacked at each point',
    data.caption(count, attack=f'PGD-{ATTACK_STEPS} at each point')
    + ' Random direction, normalised by filter; a distance of 1 is the norm of '
    'the weights.',
    functools.partial(
      charts.curves,
      values={
        label: (arrays['axis'], arrays['loss'])
        for label, arrays in along.items()
      },
      x='distance along the direction',
      y='cross-entropy',
    ),
  )


def _surface_panels(
  data: base.ReportData,
  count: int,
  number: int,
  run: runs.Run,
  arrays: dict[str, Any],
  scales: dict[str, tuple[float, float]],
) -> list[theme.Panel]:
  """Returns the surfaces of a run, around its weights and around images.

  Args:
    data: the runs of the report.
    count: number of images.
    number: number of the run in the report, from 1.
    run: the run.
    arrays: its landscapes.
    scales: landscape -> ends of the colour scale.
  """
  weights, images = arrays['around_weights'], arrays['around_images']
  epsilon = data.first.threat.epsilon
  attack = f'PGD-{base.STEPS} on the network at the centre'
  return [
    theme.Panel(
      f'landscape-weights-{number}',
      f'{run.label}: loss around the weights',
      data.caption(count, attack, run)
      + ' Two random directions, normalised by filter; values above the scale '
      'are cut off.',
      functools.partial(
        pictures.surface,
        axis=weights['axis'],
        loss=weights['loss'],
        x='first direction',
        y='second direction',
        scale=scales['around_weights'],
      ),
      height=3.4,
    ),
    theme.Panel(
      f'landscape-inputs-{number}',
      f'{run.label}: loss around the images',
      data.caption(count, run=run)
      + ' Mean over the images; each has its own plane, spanned by the sign of '
      f'its gradient and by random signs, up to {landscape.INPUT_REACH:g} '
      f'epsilon, with epsilon {epsilon:.4g}. Values above the scale are cut '
      'off.',
      functools.partial(
        pictures.surface,
        axis=images['axis'] / epsilon,
        loss=images['loss'],
        x='random signs [epsilon]',
        y='sign of the gradient [epsilon]',
        scale=scales['around_images'],
      ),
      height=3.4,
    ),
  ]


def landscapes(data: base.ReportData) -> base.Section:
  """Shows the loss around the weights and around the images."""
  count = min(IMAGES, len(data.examples.labels))
  measured = {run.label: _measure(data, run) for run in data.runs}
  scales = {
    kind: _scale([arrays[kind]['loss'] for arrays in measured.values()])
    for kind in ('around_weights', 'around_images')
  }
  panels = [_line_panel(data, count, measured)]
  for number, run in enumerate(data.runs, 1):
    panels += _surface_panels(
      data, count, number, run, measured[run.label], scales
    )
  return base.Section(
    'Loss landscapes',
    'How fast the loss rises around the trained weights and around the test '
    'images. PeerAiD claims flatter landscapes than its baselines. All '
    'networks share one colour scale.',
    panels,
  )
