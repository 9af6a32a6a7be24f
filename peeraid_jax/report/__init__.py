"""Reports: one HTML page that shows how robust a run's network is.

python -m peeraid_jax.report --workdir=DIR [--compare=OTHER]
"""

import os
import pathlib
from collections.abc import Sequence

# Figures are written to files, so Matplotlib needs no display.
os.environ.setdefault('MPLBACKEND', 'agg')


def make(
  workdir,
  compare: Sequence = (),
  *,
  role: str = 'student',
  output='',
  examples: int = 500,
  size: int = 21,
  data_dir: str = '',
) -> pathlib.Path:
  """Measures the networks of runs and writes a page with its figures.

  All measurements are stored beside the page. An interrupted report therefore
  continues where it stopped, and a finished one is redrawn without measuring
  again.

  Args:
    workdir: work directory of the run that the report is about.
    compare: work directories of runs to compare it with.
    role: 'student', 'student_swa' or 'peer'.
    output: folder of the page; by default `report` in the work directory.
    examples: number of test images to measure on.
    size: grid points along each direction of a loss landscape; odd, so that
      the centre is a grid point.
    data_dir: folder of the data set, if it is not where the run found it.

  Returns:
    Path of the page, `index.html`.

  Raises:
    FileNotFoundError: a work directory or the data set is missing.
    ValueError: an argument is out of range, or the runs cannot be compared.
  """
  from peeraid_jax.report import page, runs, sections, store
  from peeraid_jax.runtime import progress, results

  if examples < 1:
    raise ValueError(f'--examples={examples} should be at least 1')
  if size < 3 or size % 2 == 0:
    raise ValueError(f'--size={size} should be odd, and at least 3')
  opened_runs = runs.open_all([workdir, *compare], role)
  test_examples, subset = runs.test_examples(opened_runs[0], examples, data_dir)
  folder = pathlib.Path(output or pathlib.Path(workdir) / 'report')
  folder.mkdir(parents=True, exist_ok=True)
  data = sections.ReportData(
    opened_runs,
    test_examples,
    subset,
    store.Store(folder / 'measured', results.commit()),
    landscape_size=size,
  )
  filled_sections = []
  for name, fill_section in sections.SECTIONS.items():
    progress.say(f'report: {name}')
    filled_sections.append(fill_section(data))
  path = page.write(data, filled_sections, folder)
  progress.say(f'report: {path}')
  return path
