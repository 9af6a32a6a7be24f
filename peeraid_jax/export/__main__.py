"""Command: exports a network of a run for other programs.

python -m peeraid_jax.export --workdir=DIR [--role=student]
  [--format=stablehlo|onnx|torch|safetensors] [--output=FILE]
"""

from absl import app, flags

from peeraid_jax.runtime import command, output, paths, terminal

_WORKDIR = flags.DEFINE_string('workdir', None, 'Work directory of the run.')
_ROLE = flags.DEFINE_string(
  'role',
  'student',
  "Which network: 'student', 'student_swa', 'peer' or 'teacher'.",
)
_FORMAT = flags.DEFINE_enum(
  'format',
  'stablehlo',
  ['stablehlo', 'onnx', 'torch', 'safetensors'],
  'Format of the file.',
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'Path of the file; by default in the work directory.'
)
_CHECKPOINT = flags.DEFINE_enum(
  'checkpoint', 'best', ['best', 'latest'], 'Which checkpoint to export.'
)
_IMAGES = flags.DEFINE_integer(
  'images',
  64,
  'Number of test images on which the file is compared with the network; 0 '
  'skips the comparison.',
  lower_bound=0,
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', '', 'Folder of the data set, if it has moved since the run.'
)


def main(argv: list[str]) -> None:
  """Exports the network that the flags name."""

  def export():
    from peeraid_jax.export import network

    network.export(
      paths.checked(_WORKDIR.value, '--workdir'),
      role=_ROLE.value,
      format_name=_FORMAT.value,
      output=paths.checked(_OUTPUT.value or '', '--output'),
      which=_CHECKPOINT.value,
      images=_IMAGES.value,
      data_dir=paths.checked(_DATA_DIR.value, '--data_dir'),
    )

  command.run_command(export, workdir=_WORKDIR.value, unexpected=argv[1:])


if __name__ == '__main__':
  terminal.prepare()
  output.protect()
  app.run(main)
