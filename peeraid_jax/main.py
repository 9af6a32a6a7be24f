"""The command: trains and evaluates a run.

python -m peeraid_jax.main --config=configs/digits.py [--workdir=DIR]
  [--mode=train|evaluate] [--config.any.field=value]
"""

import os
import pathlib
import sys

from peeraid_jax.runtime import interrupts, output, terminal

if __name__ == '__main__':
  # First of all: the imports take a while, in which signals may arrive.
  terminal.prepare()
  output.protect()
  interrupts.start()

from absl import app, flags, logging
from ml_collections import config_flags

from peeraid_jax import config as config_lib
from peeraid_jax.runtime import arguments, paths

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Config file, with choices: configs/cifar10.py:method=pgd_at'
)
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Folder of checkpoints, metrics and results; the same command on the same '
  'folder resumes. Default: runs/ and the name of the config.',
)
_MODE = flags.DEFINE_enum(
  'mode', 'train', ['train', 'evaluate'], 'Train and evaluate, or evaluate.'
)


def _help() -> str:
  """Returns the text of --help: the flags, and every field of a config."""
  from peeraid_jax.config import fields

  return (
    f'{__doc__}\n{flags.FLAGS.main_module_help()}\n\n'
    'Fields of a config, with their defaults (a method, a data set or a '
    'config file\nmay change them). {role}, {trained}, {partner} and '
    '{teacher} stand for networks of\nthe run: student, peer, teacher, '
    'natural_teacher.\n\n' + fields.as_text()
  )


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; errors are reported without a traceback."""
  if {'--help', '-h', '-help', '--helpfull', '--helpshort'} & set(argv[1:]):
    print(_help())
    sys.exit(0)
  try:
    arguments.check_repeated(argv)
    argv = [arguments.plain(a) for a in argv]
    argument = arguments.config_argument(argv)
    arguments.check_config_file(argument.partition(':')[0])
    # Any error of a config file is one line here; flags know only some.
    config_lib.load(argument)
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  try:
    rest = flags.FLAGS(argv)
  except (flags.Error, KeyError, AttributeError, ValueError, TypeError) as e:
    sys.exit(f'error: {arguments.explain(e, argv)}')
  if _WORKDIR.value == '':
    sys.exit(
      'error: --workdir= is empty; name a folder, or leave the flag out for '
      f'{_default_workdir(argument)}'
    )
  return rest


def _default_workdir(config_argument: str) -> str:
  path, _, choices = config_argument.partition(':')
  parts = [pathlib.Path(path).stem, *filter(None, choices.split(','))]
  return os.path.join('runs', '-'.join(parts))


def main(argv: list[str]) -> None:
  """Runs the config that the flags name."""
  if len(argv) > 1:
    sys.exit(
      f'error: unexpected arguments {argv[1:]}; fields are set as '
      '--config.field=value'
    )
  if not flags.FLAGS['verbosity'].present:
    # Orbax logs each checkpoint; --verbosity=0 shows that again.
    logging.set_verbosity(logging.WARNING)
  import jax

  from peeraid_jax import run
  from peeraid_jax.runtime import compilation_cache, ending, processes

  compilation_cache.enable()
  # mypy does not know that a config flag is of a class of its own.
  argument = flags.FLAGS['config'].config_filename  # type: ignore[attr-defined]
  try:
    workdir = paths.checked(
      _WORKDIR.value or _default_workdir(argument), '--workdir'
    )
    paths.expand_config(_CONFIG.value)
    processes.start(_CONFIG.value.distributed)
    if jax.distributed.is_initialized() and jax.process_index():
      # Process 0 alone prints; errors of this one still go to stderr.
      sys.stdout = open(os.devnull, 'w')
    with interrupts.raising():
      run.run(_CONFIG.value, workdir, _MODE.value, argument)
    ending.finish()
  except interrupts.Interrupted as interrupted:
    ending.leave(128 + interrupted.number)
  except (ValueError, OSError, FloatingPointError) as error:
    if os.environ.get('PEERAID_TRACEBACK'):
      ending.leave_unexpected(error)
      raise
    ending.leave(1, f'error: {error}')
  except Exception as error:
    ending.leave_unexpected(error)
    raise


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
