"""Parts of results.json: the config, and what earlier evaluations measured.

A run may be evaluated several times: by other attacks, on other images, after
more training. All of it accumulates in one file; see `entries`.
"""

import functools
import json
import os
import pathlib
from typing import Any

import jax

from peeraid_jax import config as config_lib
from peeraid_jax.evaluation import entries
from peeraid_jax.runtime import progress
from peeraid_jax.runtime import results as results_lib
from peeraid_jax.training import checkpoint

# Config fields with paths of this machine. They are never stored.
_PATHS = ('dir', 'source', 'corruptions', 'torch')
# Config fields with the work directory of another run. A relative path, for
# runs that lie beside each other, tells which run it was and is stored.
_WORKDIRS = ('workdir', 'peer_from')


def portable_config(config) -> dict[str, Any]:
  """Returns a config as JSON, without the paths and hosts of this machine."""
  stored = config_lib.to_json(config)
  del stored['distributed']
  for field, value in config_lib.flatten(stored).items():
    *sections, name = field.split('.')
    if name in (*_PATHS, *_WORKDIRS) and value:
      section = functools.reduce(lambda c, s: c[s], sections, stored)
      relative = name in _WORKDIRS and not os.path.isabs(value)
      section[name] = value if relative else ''
  return stored


def earlier(workdir) -> dict[str, Any]:
  """Returns what earlier evaluations of a run wrote.

  A damaged file is renamed, so that nothing in it is overwritten, and the user
  is told. Only process 0 reads and renames, as only it writes.

  Args:
    workdir: work directory of the run.

  Returns:
    The content of `results.json`; empty if there is none, or a damaged one.

  Raises:
    OSError: a damaged file cannot be renamed.
  """
  if jax.process_index():
    return {}
  try:
    return results_lib.read(workdir) or {}
  except ValueError as error:
    path = pathlib.Path(workdir) / 'results.json'
    aside = results_lib.set_aside(path)
    progress.say(f'warning: {error}. It is kept as {aside}')
    return {}


def set_aside_if_new(workdir) -> None:
  """Renames the results of an earlier training, if a new one begins.

  Networks that are trained anew may be saved at the same steps as those before
  them, and would be taken for them. Only process 0 renames.

  Args:
    workdir: of a run that is about to be trained; one without a checkpoint
      begins at step 0.

  Raises:
    OSError: the file cannot be renamed.
  """
  path = pathlib.Path(workdir) / 'results.json'
  if jax.process_index() or not path.exists():
    return
  if checkpoint.latest_step(workdir) is None:
    aside = results_lib.set_aside(path, 'earlier')
    progress.say(
      f'note: {workdir} has no checkpoint to go on from. The results of an '
      f'earlier training are kept as {aside}'
    )


def described(
  earlier_content: dict[str, Any],
  content: dict[str, Any],
  *,
  measures_accuracies: bool,
) -> dict[str, Any]:
  """Returns what the file says of the run, besides its measurements.

  Args:
    earlier_content: of results.json.
    content: config, commit and so on, of this evaluation.
    measures_accuracies: whether this evaluation measures those in 'roles'. If
      not, and if the networks are those of the earlier evaluation, the file
      keeps what it says of that one.
  """
  roles = earlier_content.get('selection', {}).get('roles')
  if roles == _as_json(content['selection']['roles']) and (
    not measures_accuracies
  ):
    return {
      key: value
      for key, value in earlier_content.items()
      if key not in ('evaluations', 'roles', *entries.KINDS)
    }
  return content


def joined(
  content: dict[str, Any], measured: list[entries.Entry]
) -> dict[str, Any]:
  """Returns the content of results.json.

  Args:
    content: what it says of the run; 'selection' names the checkpoints that
      'roles' and the parts after it are of.
    measured: entries of all evaluations so far.
  """
  sources = _as_json(content['selection']['roles'])
  return {
    **content,
    **entries.summary(measured, sources),
    'evaluations': measured,
  }


def _as_json(value):
  """Returns a value as JSON holds it: lists for tuples."""
  return json.loads(json.dumps(value))
