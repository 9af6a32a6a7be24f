"""The command: trains and evaluates a run.

python -m peeraid_jax.main --config=configs/digits.py [--workdir=DIR]
  [--mode=train|evaluate] [--config.any.field=value]
"""

import os
import pathlib
import re
import sys

from absl import app, flags, logging
from ml_collections import config_flags

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


def _fraction(argument: str) -> str:
  """Replaces a number that is written as in the papers: 8/255."""
  match = re.fullmatch(r'(--config\.[\w.]+=)(\d+)/([1-9]\d*)', argument)
  if not match:
    return argument
  return f'{match[1]}{int(match[2]) / int(match[3])!r}'


def _config_argument(argv: list[str]) -> str:
  """Returns the value of --config among unparsed arguments, or ''."""
  for index, argument in enumerate(argv):
    name, equals, value = argument.lstrip('-').partition('=')
    if argument.startswith('-') and name == 'config':
      return value if equals else ''.join(argv[index + 1 : index + 2])
  return ''


def _explain(error: Exception, argv: list[str]) -> str:
  """Returns what is wrong with the flags, in one paragraph.

  Args:
    error: raised while `argv` was parsed.
    argv: the arguments of the command.
  """
  text = str(error)
  if 'Error whilst parsing config file' in text:
    # The last line of the config file's traceback is its message.
    return text.strip().splitlines()[-1].removeprefix('ValueError: ')
  if isinstance(error, KeyError | AttributeError):
    from peeraid_jax import config as config_lib

    config = config_lib.load(_config_argument(argv))
    known = config_lib.flatten(config)
    for argument in argv:
      match = re.match(r'--?(?:no)?config\.([\w.]+)', argument)
      if match and match[1] not in known:
        return config_lib.suggest(match[1], config)
  return text


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
  argv = [_fraction(a) for a in argv]
  path = _config_argument(argv).partition(':')[0]
  if path and not pathlib.Path(path).is_file():
    sys.exit(f'error: --config={path}: no such file; configs/ has some')
  try:
    rest = flags.FLAGS(argv)
  except (flags.Error, KeyError, AttributeError, ValueError, TypeError) as e:
    sys.exit(f'error: {_explain(e, argv)}')
  if not path:
    sys.exit('error: --config=FILE is missing, such as configs/digits.py')
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
  from peeraid_jax.runtime import compilation_cache, interrupts, processes

  compilation_cache.enable()
  # mypy does not know that a config flag is of a class of its own.
  argument = flags.FLAGS['config'].config_filename  # type: ignore[attr-defined]
  workdir = _WORKDIR.value or _default_workdir(argument)
  try:
    processes.start(_CONFIG.value.distributed)
    if jax.distributed.is_initialized() and jax.process_index():
      # Process 0 alone prints; errors of this one still go to stderr.
      sys.stdout = open(os.devnull, 'w')
    run.run(_CONFIG.value, workdir, _MODE.value, argument)
  except interrupts.Interrupted as interrupted:
    sys.exit(128 + interrupted.number)
  except (ValueError, OSError, FloatingPointError) as error:
    if os.environ.get('PEERAID_TRACEBACK'):
      raise
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
