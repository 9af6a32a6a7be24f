"""Parts of results.json: the config, and what earlier evaluations measured.

A run may be evaluated several times, each time by other attacks. Results of
the same networks accumulate in one file.
"""

import functools
import json
import os
import pathlib
from typing import Any

from peeraid_jax import config as config_lib
from peeraid_jax.runtime import progress
from peeraid_jax.runtime import results as results_lib

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


def earlier(workdir: pathlib.Path, sources: dict[str, dict]) -> dict[str, Any]:
  """Returns the earlier results of a run if they are of the same networks.

  Args:
    workdir: work directory of the run.
    sources: role -> the checkpoint of its network, of this evaluation.

  Returns:
    The content of `results.json`. Empty if there is none, if its networks
    come from other checkpoints, or if it is damaged (with a warning).
  """
  try:
    content = results_lib.read(workdir)
    if content is None:
      return {}
    # A round trip through JSON, because that turns tuples into lists.
    same = content['selection']['roles'] == json.loads(json.dumps(sources))
  except (ValueError, TypeError, KeyError) as error:
    progress.say(
      f'warning: the earlier {workdir / "results.json"} cannot be used '
      f'({type(error).__name__}: {error}); it will be replaced'
    )
    return {}
  return content if same else {}


def joined(
  earlier_content: dict[str, Any],
  content: dict[str, Any],
  *,
  replaces_accuracies: bool,
  autoattack: dict[str, dict[str, Any]],
  obfuscation: dict[str, Any],
  corruptions: dict[str, Any],
) -> dict[str, Any]:
  """Joins the results of this evaluation with earlier ones.

  Args:
    earlier_content: results of the same networks, as `earlier` returns them.
    content: results of this evaluation, without the parts below.
    replaces_accuracies: True if this evaluation measured the accuracies of
      each role. Otherwise the earlier ones stay, with their provenance, and
      only 'transfer' is added to.
    autoattack: role -> attack -> report; added to the earlier ones.
    obfuscation: role -> its checks; added to the earlier ones.
    corruptions: role -> its accuracies; added to the earlier ones.

  Returns:
    The new content of `results.json`.
  """
  if earlier_content and not replaces_accuracies:
    content = {
      **earlier_content,
      'transfer': earlier_content['transfer'] | content['transfer'],
    }
  reports = {
    role: dict(by_attack)
    for role, by_attack in earlier_content.get('autoattack', {}).items()
  }
  for role, by_attack in autoattack.items():
    reports.setdefault(role, {}).update(by_attack)
  return {
    **content,
    'autoattack': reports,
    'obfuscation': earlier_content.get('obfuscation', {}) | obfuscation,
    'corruptions': earlier_content.get('corruptions', {}) | corruptions,
  }
