"""The section on robustness: attacks of growing radius and length."""

import functools
from collections.abc import Callable

import numpy as np

from peeraid_jax.evaluation import entries
from peeraid_jax.report import (
  charts,
  measure,
  runs,
  theme,
)
from peeraid_jax.report.sections import base


def _measured_curves(
  data: base.ReportData,
  name: str,
  measure_curve: Callable[[runs.Run], dict[str, np.ndarray]],
  *,
  x: str,
  **settings,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Measures one curve of accuracies for each run.

  Args:
    data: the runs and their measurements.
    name: name of the measurement.
    measure_curve: run -> arrays, with 'accuracy' among them.
    x: name of the array that accuracies are drawn against.
    **settings: as of `ReportData.measured`.

  Returns:
    Label of the run -> (x, accuracies).
  """
  curves = {}
  for run in data.runs:
    arrays = data.measured(
      run,
      name,
      functools.partial(measure_curve, run),
      n=len(data.examples.labels),
      **settings,
    )
    curves[run.label] = (arrays[x], arrays['accuracy'])
  return curves


def _epsilon_panel(data: base.ReportData) -> theme.Panel:
  """Returns the curve of accuracy against radius."""
  is_linf = data.first.threat.norm == 'Linf'
  # Radii of Linf are usually given in units of 1/255.
  scale, unit = (255, ' [1/255]') if is_linf else (1, '')
  curves = _measured_curves(
    data,
    'by_epsilon',
    lambda run: measure.accuracy_by_epsilon(
      run.net, data.examples, run.threat, steps=base.STEPS
    ),
    x='epsilon',
    steps=base.STEPS,
  )
  attack = f'PGD-{base.STEPS} at multiples of the threat model'
  return theme.Panel(
    'epsilon',
    'Accuracy against radius',
    f'{data.caption(attack=attack)} The step size grows in proportion to the '
    'radius. Dotted line: the radius of the training.',
    functools.partial(
      charts.curves,
      values={
        label: (scale * radii, accuracies)
        for label, (radii, accuracies) in curves.items()
      },
      x=f'epsilon{unit}',
      y='accuracy',
      percent=True,
      vertical_line=(scale * data.first.threat.epsilon, 'training'),
    ),
  )


def _steps_panel(data: base.ReportData) -> theme.Panel:
  """Returns the curve of accuracy against the number of PGD's steps."""
  curves = _measured_curves(
    data,
    'by_steps',
    lambda run: measure.accuracy_by_steps(run.net, data.examples, run.threat),
    x='steps',
  )
  return theme.Panel(
    'steps',
    'Accuracy against steps of the attack',
    data.caption(attack=f'PGD, one attack of {measure.STEPS[-1]} steps'),
    functools.partial(
      charts.curves,
      values=curves,
      x='steps',
      y='accuracy',
      percent=True,
      log_x=True,
    ),
  )


def _autoattack_panel(data: base.ReportData) -> theme.Panel | None:
  """Returns the outcomes of AutoAttack, if a run's result file has them."""
  measured = {
    run.label: entries.counting(found)
    for run in data.runs
    if (found := run.measured('autoattack', 'autoattack'))
  }
  if not measured:
    return None
  images = {
    label: entries.images_text(entry['n'], entry['subset'])
    for label, entry in measured.items()
  }
  same = len(set(images.values())) == 1
  which = ' or '.join(sorted(set(images.values())))
  shown = {
    label if same else f'{label} ({images[label]})': entry['result']['counts']
    for label, entry in measured.items()
  }
  return theme.Panel(
    'autoattack',
    'Images broken by each attack of AutoAttack',
    f'{data.first.config.data.name}, {which}; AutoAttack, {data.threat_model}; '
    'each image counts for the first attack that changed its correct '
    'prediction.',
    functools.partial(charts.outcomes, counts=shown),
    height=1.3 + 0.5 * len(shown),
  )


def robustness(data: base.ReportData) -> base.Section:
  """Shows accuracy against radius and steps, and AutoAttack's outcomes."""
  panels = [_epsilon_panel(data), _steps_panel(data)]
  explanation = (
    'Each attack gives an upper bound on the robust accuracy; the lowest bound '
    'counts.'
  )
  autoattack = _autoattack_panel(data)
  if autoattack is None:
    explanation += (
      ' AutoAttack was not run; '
      '--mode=evaluate --config.eval.attacks="(\'autoattack\',)" runs it.'
    )
  else:
    panels.append(autoattack)
  return base.Section('Robustness', explanation, panels)
