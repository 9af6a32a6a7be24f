"""The checks for masked gradients of a report."""

from typing import Any

from peeraid_jax.evaluation import entries, obfuscation
from peeraid_jax.report import measure, sections, text

# Number of images that the checks measure on, if the run's result file has no
# checks.
_IMAGES = 200


def _measure(data: sections.ReportData, count: int) -> dict[str, Any]:
  """Measures and judges the network of the first run on `count` images.

  Returns:
    Check -> verdict, as of `obfuscation.judge`.
  """
  run, examples = data.first, data.some_examples(count)

  def measure_accuracies():
    return obfuscation.measure(
      run.nets,
      examples.dataset(),
      epsilon=run.threat.epsilon,
      step_size=run.threat.step_size,
      norm=run.threat.norm,
      roles=(run.role,),
      batch_size=measure.BATCH,
      seed=examples.seed,
    )[run.role]

  accuracies = data.measured_json(
    run, 'obfuscation', measure_accuracies, n=count
  )
  # JSON turned the radii into text.
  by_epsilon = {
    float(radius): accuracy
    for radius, accuracy in accuracies['by_epsilon'].items()
  }
  return obfuscation.judge({**accuracies, 'by_epsilon': by_epsilon})


def table(data: sections.ReportData) -> dict[str, Any]:
  """Returns the checks of the first run's network.

  They are those of the run's result file. If it has none, they are measured.

  Args:
    data: the runs and their measurements.

  Returns:
    {'caption': what was measured, 'rows': list of {'name', 'verdict',
    'accuracies': what the check compares, as text, 'why': its reasoning}}.
  """
  run = data.first
  stored = run.measured('obfuscation')
  if stored:
    entry = entries.counting(stored)
    checks = entry['result']
    caption = (
      f'{run.role} of {run.label}; checks from its result file, on '
      f'{entries.images_text(entry["n"], entry["subset"])}.'
    )
  else:
    count = min(_IMAGES, len(data.examples.labels))
    checks = _measure(data, count)
    caption = data.caption(count, attack='PGD and random noise', run=run)
  return {
    'caption': caption,
    'rows': [
      {
        'name': name.replace('_', ' '),
        'verdict': 'passed' if check['passed'] else 'FAILED',
        'accuracies': ', '.join(
          f'{key}: {text.percent(accuracy)}'
          for key, accuracy in check['values'].items()
        ),
        'why': check['why'],
      }
      for name, check in checks.items()
    ],
  }
