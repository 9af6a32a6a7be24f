"""The report command: writes a page on the networks of a run.

python -m peeraid_jax.report --workdir=DIR [--compare=OTHER ...]
  [--role=student] [--output=DIR] [--examples=500]
"""

from absl import app, flags

from peeraid_jax.runtime import command, output, paths, terminal

_WORKDIR = flags.DEFINE_string('workdir', None, 'Work directory of the run.')
_COMPARE = flags.DEFINE_multi_string(
  'compare',
  [],
  'Work directory of a run to compare with; may be given repeatedly.',
)
_ROLE = flags.DEFINE_enum(
  'role',
  'student',
  ['student', 'student_swa', 'peer'],
  'Network that the report is about.',
)
_OUTPUT = flags.DEFINE_string(
  'output', '', 'Folder of the page; by default report/ in the work directory.'
)
_EXAMPLES = flags.DEFINE_integer(
  'examples', 500, 'Number of test images to measure on.'
)
_SIZE = flags.DEFINE_integer(
  'size', 21, 'Grid points along each direction of a loss landscape; odd.'
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir',
  '',
  'Folder of the data set, if it is not where the run found it.',
)


def main(argv: list[str]) -> None:
  """Writes the report that the flags describe."""
  # `--compare A B`: the flag takes A, and B is left over as a positional
  # argument.
  positional = argv[1:]

  def write_report():
    from peeraid_jax import report

    report.make(
      paths.checked(_WORKDIR.value, '--workdir'),
      [
        paths.checked(other, '--compare')
        for other in (*_COMPARE.value, *positional)
      ],
      role=_ROLE.value,
      output=paths.checked(_OUTPUT.value, '--output'),
      examples=_EXAMPLES.value,
      size=_SIZE.value,
      data_dir=paths.checked(_DATA_DIR.value, '--data_dir'),
    )

  command.run_command(
    write_report,
    workdir=_WORKDIR.value,
    unexpected=() if _COMPARE.value else positional,
  )


if __name__ == '__main__':
  terminal.prepare()
  output.protect()
  app.run(main)
