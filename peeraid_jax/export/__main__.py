"""The command: a network of a run, for other programs.

python -m peeraid_jax.export --workdir=DIR [--role=student]
  [--format=stablehlo|onnx|torch|safetensors] [--output=FILE]
"""

import sys

from absl import app, flags, logging

_WORKDIR = flags.DEFINE_string('workdir', None, 'Work directory of the run.')
_ROLE = flags.DEFINE_string(
  'role', 'student', "'student', 'student_swa', 'peer' or 'teacher'."
)
_FORMAT = flags.DEFINE_enum(
  'format',
  'stablehlo',
  ['stablehlo', 'onnx', 'torch', 'safetensors'],
  'Of the file.',
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'Path of the file; by default in the work directory.'
)
_CHECKPOINT = flags.DEFINE_enum(
  'checkpoint', 'best', ['best', 'latest'], 'Which one.'
)
_IMAGES = flags.DEFINE_integer(
  'images',
  64,
  'Test images that the file is compared with the network on; 0: none.',
  lower_bound=0,
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', '', 'Where the data set is, if not where the run found it.'
)


def main(argv: list[str]) -> None:
  """Exports what the flags say."""
  if len(argv) > 1:
    sys.exit(f'error: unexpected arguments {argv[1:]}')
  if not _WORKDIR.value:
    sys.exit('error: --workdir=DIR is missing, the folder of a run')
  logging.set_verbosity(logging.WARNING)
  from peeraid_jax import compilation_cache
  from peeraid_jax.export import files

  compilation_cache.enable()

  try:
    files.export(
      _WORKDIR.value,
      role=_ROLE.value,
      kind=_FORMAT.value,
      output=_OUTPUT.value or '',
      which=_CHECKPOINT.value,
      images=_IMAGES.value,
      data_dir=_DATA_DIR.value,
    )
  except (ValueError, OSError, ImportError) as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  app.run(main)
