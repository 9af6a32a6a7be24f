"""The command: a report of a run.

python -m peeraid_jax.report --workdir=DIR [--compare=OTHER ...]
  [--role=student] [--output=DIR] [--examples=500]
"""

import sys

from absl import app, flags, logging

_WORKDIR = flags.DEFINE_string('workdir', None, 'Work directory of the run.')
_COMPARE = flags.DEFINE_multi_string(
  'compare', [], 'Work directory of a run beside it; may be given repeatedly.'
)
_ROLE = flags.DEFINE_enum(
  'role', 'student', ['student', 'student_swa', 'peer'], 'The network.'
)
_OUTPUT = flags.DEFINE_string(
  'output', '', 'Folder of the page; by default report/ in the work directory.'
)
_EXAMPLES = flags.DEFINE_integer(
  'examples', 500, 'Test images that are measured on.'
)
_SIZE = flags.DEFINE_integer(
  'size', 21, 'Points along each direction of a loss landscape; odd.'
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', '', 'Where the data set is, if not where the run found it.'
)


def main(argv: list[str]) -> None:
  """Makes the report that the flags ask for."""
  # --compare A B: what follows the flag without one of its own.
  others = [*_COMPARE.value, *argv[1:]]
  if argv[1:] and not _COMPARE.value:
    sys.exit(f'error: unexpected arguments {argv[1:]}')
  if not _WORKDIR.value:
    sys.exit('error: --workdir=DIR is missing, the folder of a run')
  logging.set_verbosity(logging.WARNING)
  from peeraid_jax import compilation_cache, report

  compilation_cache.enable()

  try:
    report.make(
      _WORKDIR.value,
      others,
      role=_ROLE.value,
      output=_OUTPUT.value,
      examples=_EXAMPLES.value,
      size=_SIZE.value,
      data_dir=_DATA_DIR.value,
    )
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  app.run(main)
