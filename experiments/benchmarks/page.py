"""Writes experiments/benchmarks/README.md from the benchmarks' result files.

python -m experiments.benchmarks.page
"""

import pathlib

from experiments.benchmarks import page_programs, page_step, result_files
from peeraid_jax import files

_HERE = pathlib.Path(__file__).parent
PAGE = _HERE / 'README.md'

# Name of a result file -> what writes its section; in the order of the page.
_SECTIONS = {
  'step': page_step.step,
  'growth': page_step.growth,
  'levers': page_step.levers,
  'start': page_programs.start,
  'convolutions': page_programs.convolutions,
  'memory': page_programs.memory,
  'input': page_programs.reading,
  'autoattack': page_programs.autoattack,
}


def page() -> str:
  """Returns the page as Markdown; skips benchmarks without a result file."""
  parts = [
    '# Benchmarks',
    '`python -m experiments.benchmarks.page` writes this page from '
    '`experiments/results/benchmarks/*.json` and `tried.md`. The docstring of '
    'each program says what it measures. [scaling.md](../scaling.md) has the '
    'cost of a second process. CI measures no times: '
    "`tests/guard_test.py` bounds the step's FLOPs, bytes, memory and "
    'number of compilations instead.',
  ]
  for name, section in _SECTIONS.items():
    path = pathlib.Path(result_files.default(name))
    if path.exists():
      parts.append(section(files.read_json(path)))
  parts.append((_HERE / 'tried.md').read_text().strip())
  return '\n\n'.join(parts) + '\n'


if __name__ == '__main__':
  files.write_text(PAGE, page())
