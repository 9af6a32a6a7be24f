"""Reads results.json; names the code, device and libraries behind a result."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

from peeraid_jax import files

_LIBRARIES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


# What an entry of 'evaluations' holds: accuracy under an attack, accuracy on
# images that attack another network, a report of AutoAttack, checks for masked
# gradients, and accuracies on corrupted images. The last four are also parts of
# the file.
KINDS = ('attack', 'transfer', 'autoattack', 'obfuscation', 'corruptions')

# Parts of a result file that are objects, where they are present.
_PARTS = ('config', 'selection', 'teachers', *KINDS[1:])

# Fields of each of its 'evaluations'; `evaluation.entries` describes them.
_ENTRY = (
  'kind',
  'role',
  'name',
  'settings',
  'n',
  'subset',
  'sources',
  'result',
  'commit',
  'device',
  'versions',
)


def _check(content: Any) -> None:
  """Checks that a value has the structure of a result file.

  Raises:
    ValueError, TypeError, KeyError, AttributeError: it has not.
  """
  if not isinstance(content, dict):
    raise ValueError(
      f'it should hold a JSON object, and holds a {type(content).__name__}'
    )
  if not isinstance(content.get('roles'), dict):
    raise ValueError("it should have an object 'roles'")
  for part in _PARTS:
    if not isinstance(content.get(part, {}), dict):
      raise ValueError(f'{part!r} should be an object')
  values = [
    v for attacks in content['roles'].values() for v in attacks.values()
  ]
  for value in [*values, *content.get('transfer', {}).values()]:
    if not isinstance(value['accuracy'], int | float):
      raise ValueError(f'{value["accuracy"]!r} should be an accuracy')
    if not isinstance(value['n'], int):
      raise ValueError(f'{value["n"]!r} should be a number of images')
  for entry in content.get('evaluations', ()):
    _check_entry(entry)


def _check_entry(entry: Any) -> None:
  """Checks that a value has the structure of one of a file's 'evaluations'.

  Raises:
    ValueError, TypeError, KeyError: it has not.
  """
  for field in _ENTRY:
    entry[field]
  if entry['kind'] not in KINDS:
    raise ValueError(f'{entry["kind"]!r} should be one of {", ".join(KINDS)}')
  for field in ('settings', 'sources', 'result'):
    if not isinstance(entry[field], dict):
      raise ValueError(f'{field!r} of an entry should be an object')
  if not isinstance(entry['n'], int | None):
    raise ValueError(f'{entry["n"]!r} should be a number of images')


def read_file(path) -> dict[str, Any]:
  """Reads a result file.

  Args:
    path: of a `results.json`, or of a copy of one.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is damaged; the message names it, on one line.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    raise ValueError(f'{path} is damaged (it is a folder)')
  try:
    content = files.read_json(path)
  except RecursionError:
    raise ValueError(f'{path} is damaged (it is nested too deeply)') from None
  try:
    _check(content)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    what = error if type(error) is ValueError else repr(error)
    raise ValueError(f'{path} is damaged ({what})') from error
  return content


def read(workdir) -> dict[str, Any] | None:
  """Reads the results of a run.

  Args:
    workdir: work directory of the run.

  Returns:
    The content of its `results.json`, as `evaluation.final.evaluate_run`
    wrote it; None if the run has not been evaluated yet.

  Raises:
    ValueError: the file is damaged; the message names it.
  """
  path = pathlib.Path(workdir) / 'results.json'
  return read_file(path) if path.exists() else None


def set_aside(path, ending: str = 'damaged') -> pathlib.Path:
  """Renames a file, so that it is kept when a new one is written.

  Args:
    path: of a file or folder.
    ending: says why it is renamed.

  Returns:
    The new path, in the same folder: a dot and the ending are appended to the
    name, with a number if there is such a file already.

  Raises:
    OSError: the folder cannot be written.
  """
  path = pathlib.Path(path)
  aside, number = path.with_name(f'{path.name}.{ending}'), 1
  while aside.exists():
    number += 1
    aside = path.with_name(f'{path.name}.{ending}{number}')
  path.rename(aside)
  return aside


def commit() -> str:
  """Returns the git commit of this package.

  '-dirty' is appended if its files differ from the commit. 'unknown' stands
  for a package that does not lie in its own git repository.
  """
  package = pathlib.Path(__file__).parents[1]

  def git(*arguments):
    return subprocess.run(
      ['git', '-C', str(package), *arguments],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    # An installed copy may lie inside somebody else's repository.
    if not git('ls-files', '__init__.py'):
      return 'unknown'
    head = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '--untracked-files=no', '.')
    return head + ('-dirty' if changed else '')
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


def device() -> str:
  """Returns the number and kind of the devices; for CPUs also the cores."""
  first = jax.devices()[0]
  text = f'{jax.device_count()} x {first.device_kind} ({first.platform})'
  if first.platform == 'cpu':
    text += f', {os.cpu_count()} cores, {platform.machine()}'
  return text


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the libraries that affect results."""
  libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
  return {'python': platform.python_version(), **libraries}
