"""Reports: what a run's networks withstand, as one page to look at.

python -m peeraid_jax.report --workdir=DIR [--compare=OTHER]
"""

import os
import pathlib
from collections.abc import Sequence

# Drawing needs no display.
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
  """Measures the networks of runs, and writes a page and its pictures.

  What was measured is kept beside the page: a report that was cut off goes
  on, and one that is made again only draws.

  Args:
    workdir: of the run that is reported on.
    compare: work directories of runs to show beside it.
    role: 'student', 'student_swa' or 'peer'.
    output: folder of the page; by default `report` in the work directory.
    examples: how many test images are measured on.
    size: points along each direction of a landscape; odd.
    data_dir: where the data set is, if not where the run found it.

  Returns:
    The path of the page.

  Raises:
    FileNotFoundError: no such run, or its data set is missing.
    ValueError: bad input; or runs that cannot be compared.
  """
  from peeraid_jax import metrics, results
  from peeraid_jax.report import page, runs, sections, store

  if examples < 1:
    raise ValueError(f'--examples={examples} should be at least 1')
  if size < 3 or size % 2 == 0:
    raise ValueError(f'--size={size} should be odd, and at least 3')
  opened = runs.open_all([workdir, *compare], role)
  points = runs.points(opened[0], examples, data_dir)
  folder = pathlib.Path(output or pathlib.Path(workdir) / 'report')
  folder.mkdir(parents=True, exist_ok=True)
  scene = sections.Scene(
    opened,
    points,
    store.Store(folder / 'measured', results.commit()),
    size=size,
  )
  made = []
  for name, section in sections.SECTIONS.items():
    metrics.say(f'report: {name}')
    made.append(section(scene))
  path = page.write(scene, made, folder)
  metrics.say(f'report: {path}')
  return path
