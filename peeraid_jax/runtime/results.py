"""Reads results.json; names the code, device and libraries behind a result."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

from peeraid_jax.runtime import files

_LIBRARIES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


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
  if not path.exists():
    return None
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise ValueError(
      f'{path} is damaged (it should hold a JSON object, and holds a '
      f'{type(content).__name__})'
    )
  return content


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
