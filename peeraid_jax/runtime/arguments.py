"""The arguments of the command, before flags are parsed from them."""

import os
import re

from peeraid_jax import config as config_lib
from peeraid_jax.runtime import paths


def plain(argument: str) -> str:
  """Returns an argument without the notations that flags do not know.

  Those are numbers as in the papers, `--config.attack.epsilon=8/255`, and '~'
  in the path of the config file.

  Raises:
    ValueError: the home directory of '~' is not known.
  """
  name, equals, value = argument.partition('=')
  if re.fullmatch('--?config', name) and equals:
    return f'{name}={paths.checked(value, "--config")}'
  number = re.fullmatch(r'(\d+)/([1-9]\d*)', value)
  field = re.fullmatch(r'--?config\.([\w.]+)', name)
  if not number or not field or paths.is_path(field[1]):
    return argument
  return f'{name}={int(number[1]) / int(number[2])!r}'


def check_repeated(argv: list[str]) -> None:
  """Refuses a flag that is given twice: one would win, tuples would be joined.

  Raises:
    ValueError: names the flag and both values.
  """
  given: dict[str, str] = {}
  for index, argument in enumerate(argv):
    if argument == '--':
      return
    name, equals, value = argument.partition('=')
    match = re.fullmatch(r'--?(?:no)?(config[\w.]*|workdir|mode)', name)
    if not match:
      continue
    if not equals:
      argument = ' '.join(argv[index : index + 2])
    if match[1] in given:
      raise ValueError(
        f'--{match[1]} is given twice, as {given[match[1]]} and as '
        f'{argument}; leave out one of them'
      )
    given[match[1]] = argument


def config_argument(argv: list[str]) -> str:
  """Returns the value of --config among unparsed arguments, or ''."""
  for index, argument in enumerate(argv):
    name, equals, value = argument.lstrip('-').partition('=')
    if argument.startswith('-') and name == 'config':
      return value if equals else ''.join(argv[index + 1 : index + 2])
  return ''


def check_config_file(path: str) -> None:
  """Checks that --config names a Python file.

  Raises:
    ValueError, FileNotFoundError: says what is wrong with it.
  """
  if not path:
    raise ValueError('--config=FILE is missing, such as configs/digits.py')
  if os.path.isdir(path):
    raise ValueError(f'--config={path} is a folder; name a file in it')
  if not os.path.isfile(path):
    raise FileNotFoundError(f'--config={path}: no such file; configs/ has some')
  if not path.endswith('.py'):
    raise ValueError(f'--config={path} should be a Python file, FILE.py')


def explain(error: Exception, argv: list[str]) -> str:
  """Returns what is wrong with the flags, in one paragraph.

  Args:
    error: raised while flags were parsed from `argv`.
    argv: the arguments of the command.
  """
  if isinstance(error, KeyError | AttributeError):
    config = config_lib.load(config_argument(argv))
    known = config_lib.flatten(config)
    for argument in argv:
      match = re.match(r'--?(?:no)?config\.([\w.]+)', argument)
      if match and match[1] not in known:
        return config_lib.suggest(match[1], config)
  return str(error)
