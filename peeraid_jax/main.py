"""The command: flags in, a run out.

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
  'mode', 'train', ['train', 'evaluate'], 'Train and evaluate, or the latter.'
)


def _fraction(argument: str) -> str:
  """Lets a number be written as in the papers: 8/255."""
  match = re.fullmatch(r'(--config\.[\w.]+=)(\d+)/([1-9]\d*)', argument)
  if not match:
    return argument
  return f'{match[1]}{int(match[2]) / int(match[3])!r}'


def _explain(error: Exception, argv: list[str]) -> str:
  """Returns what is wrong with the flags, in one paragraph."""
  text = str(error)
  if text.startswith('Error whilst parsing config file'):
    # The last line of the config file's traceback is its message.
    text = text.strip().splitlines()[-1].partition(': ')[2]
  fields = [a[9:].partition('=')[0] for a in argv if a.startswith('--config.')]
  files = [a[9:] for a in argv if a.startswith('--config=')]
  unknown = isinstance(error, KeyError | AttributeError)
  if unknown and files:
    from peeraid_jax import config as config_lib

    path, _, choices = files[-1].partition(':')
    source = {'__name__': 'config', '__file__': path}
    exec(compile(pathlib.Path(path).read_text(), path, 'exec'), source)
    config = source['get_config'](*([choices] if choices else []))
    known = config_lib.flatten(config)
    for field in fields:
      if field not in known:
        return config_lib.suggest(field, config)
  return text


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; what is wrong is said without a traceback."""
  argv = [_fraction(a) for a in argv]
  try:
    rest = flags.FLAGS(argv)
  except (flags.Error, KeyError, AttributeError, ValueError, TypeError) as e:
    sys.exit(f'error: {_explain(e, argv)}')
  if _CONFIG.value is None and '--help' not in argv:
    sys.exit('error: --config=FILE is missing, such as configs/digits.py')
  return rest


def _default_workdir(config_argument: str) -> str:
  path, _, choices = config_argument.partition(':')
  name = pathlib.Path(path).stem
  return os.path.join('runs', '-'.join([name, *filter(None, choices.split(','))]))


def main(argv: list[str]) -> None:
  """Runs what the flags say."""
  if len(argv) > 1:
    sys.exit(f'error: unexpected arguments {argv[1:]}; fields are set as '
             '--config.field=value')
  if not flags.FLAGS['verbosity'].present:
    # Orbax narrates each checkpoint; --verbosity=0 brings it back.
    logging.set_verbosity(logging.WARNING)
  from peeraid_jax import run, train

  argument = flags.FLAGS['config'].config_filename
  workdir = _WORKDIR.value or _default_workdir(argument)
  try:
    run.run(_CONFIG.value, workdir, _MODE.value, argument)
  except train.Interrupted as interrupted:
    sys.exit(128 + interrupted.number)
  except (ValueError, OSError, FloatingPointError) as error:
    if os.environ.get('PEERAID_TRACEBACK'):
      raise
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
