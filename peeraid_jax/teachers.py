"""Networks of earlier runs: teachers, and a peer to start from."""

import ast
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import checkpoint, torch_roles
from peeraid_jax import config as config_lib
from peeraid_jax import step as step_lib
from peeraid_jax.data import facts

# What a teacher that is trained on demand takes from the run that needs it.
# Data and seed: it must not see that run's validation images.
_INHERITED = (
  'seed',
  'dtype',
  'model.normalization',
  'attack.norm',
  'attack.epsilon',
  'attack.step_size',
  'eval.select_on',
  'eval.examples',
  'eval.batch_size',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
)


def train_argument(
  config: ml_collections.ConfigDict, role: str, file: str
) -> str:
  """Returns what --config is for the run that trains a teacher.

  Args:
    config: of the run that needs the teacher.
    role: 'teacher' or 'natural_teacher'.
    file: of that run's config, for a `train_config` that names none.
  """
  path, colon, choices = config[role].train_config.partition(':')
  return (path or file.partition(':')[0]) + colon + choices


def teacher_config(
  config: ml_collections.ConfigDict, role: str, file: str
) -> ml_collections.ConfigDict:
  """Returns the config that trains a teacher of this run, on its data.

  Args:
    config: of the run that needs the teacher.
    role: 'teacher' or 'natural_teacher'.
    file: of that run's config, for a `train_config` that names none.

  Raises:
    FileNotFoundError: no such config file.
    ValueError: an unknown choice, field or value.
  """
  settings = config[role]
  made = config_lib.load(train_argument(config, role, file))
  made.data = ml_collections.ConfigDict(config.data)
  given = config_lib.flatten(config)
  made.update_from_flattened_dict({f: given[f] for f in _INHERITED})
  made.model.width = config_lib.width(config, role)
  made.lock()
  for override in settings.train_overrides:
    field, equals, value = override.partition('=')
    where = f'config.{role}.train_overrides has {override!r}'
    if not equals or field not in config_lib.flatten(made):
      raise ValueError(f'{where}: {config_lib.suggest(field, made)}')
    try:
      made.update_from_flattened_dict({field: ast.literal_eval(value)})
    except (ValueError, SyntaxError, TypeError) as error:
      raise ValueError(f'{where}: {error}') from None
  return made


def folder(config: ml_collections.ConfigDict, workdir, role: str):
  """Returns the work directory of the run that trains a teacher."""
  return pathlib.Path(config[role].workdir or pathlib.Path(workdir) / role)


def roles(config: ml_collections.ConfigDict) -> list[str]:
  """Returns the roles of a run's teachers that other runs trained."""
  return [
    role
    for role in config_lib.TEACHER_ROLES
    if role in config.model and not config[role].torch
  ]


def describe(config: ml_collections.ConfigDict, role: str) -> str:
  """Says what network a role has; equal texts have equal parameters."""
  known = facts.of(config.data)
  channels = {1: 'grey', 3: 'colour'}.get(known.shape[-1], known.shape[-1])
  text = (
    f'{config_lib.roles(config)[role]} of width '
    f'{config_lib.width(config, role)} for {known.num_classes} classes of '
    f'{channels} images'
  )
  normalization = config_lib.normalization(config, role)
  if normalization != 'none':
    text += f', normalization {normalization}'
  temperature = config_lib.temperature(config, role)
  if temperature != 1:
    text += f', temperature {temperature}'
  return text


def check_fits(
  config: ml_collections.ConfigDict,
  role: str,
  earlier: ml_collections.ConfigDict,
  source,
  *,
  source_role: str = 'student',
  field: str | None = None,
) -> None:
  """Checks that a network of another run can be a role of this one.

  Args:
    config: of this run.
    role: of this run.
    earlier: config of the other run.
    source: its work directory, for the message.
    source_role: of the other run.
    field: of this run's config, for the message.

  Raises:
    ValueError: the other run has no such role, or another network or data
      set.
  """
  field = field or f'{role}.workdir'
  base = source_role.removesuffix('_swa')
  if base not in config_lib.roles(earlier):
    raise ValueError(
      f'config.{field}={source}: that run has no {source_role!r}; it has '
      f'{", ".join(config_lib.roles(earlier))}'
    )
  found, wanted = describe(earlier, base), describe(config, role)
  if found != wanted:
    raise ValueError(
      f'config.{field}={source}: its {source_role} is {found}, this '
      f"run's {role} is {wanted}"
    )
  if earlier.data.name != config.data.name:
    raise ValueError(
      f'config.{field}={source}: it was trained on {earlier.data.name}, this '
      f'run trains on {config.data.name}'
    )


def _which(role: str, wanted: str) -> str:
  """Returns the checkpoint that holds a role's best or latest."""
  if wanted == 'latest':
    return 'latest'
  return 'best_swa' if role == 'student_swa' else 'best'


def check_named(config: ml_collections.ConfigDict) -> None:
  """Checks the earlier runs that a config names, without loading them.

  Raises:
    FileNotFoundError: there is none, or it saved nothing yet.
    ValueError: its network or data set is another one.
  """
  for role in roles(config):
    settings = config[role]
    if not settings.workdir:
      continue
    field = f'{role}.workdir'
    which = _which(settings.role, settings.checkpoint)
    try:
      earlier = checkpoint.read_config(settings.workdir)
      check_fits(
        config, role, earlier, settings.workdir, source_role=settings.role
      )
      if checkpoint.latest_step(settings.workdir, which=which) is None:
        raise FileNotFoundError(
          f'{settings.workdir} has no {which!r} checkpoint'
        )
    except FileNotFoundError as error:
      raise FileNotFoundError(
        f'config.{field}: {error}; train it first, or leave the field empty '
        'to have a teacher trained'
      ) from None
  source = config.model.get('peer_from', '')
  if source:
    earlier = checkpoint.read_config(source)
    check_fits(config, 'peer', earlier, source, field='model.peer_from')


def _load(source, source_role: str, which: str, module):
  """Returns a network of an earlier run and where it comes from."""
  state, _ = checkpoint.restore_with_meta(source, which=which)
  if source_role == 'student_swa' and not int(state.swa_count):
    raise ValueError(f'{source}: its average has not begun')
  earlier = checkpoint.read_config(source)
  told = {
    'method': earlier.method.name,
    'seed': earlier.seed,
    'model': describe(earlier, source_role.removesuffix('_swa')),
    'role': source_role,
    'checkpoint': which,
    'step': int(state.step),
  }
  results = pathlib.Path(source) / 'results.json'
  if results.exists():
    found = json.loads(results.read_text())
    told |= {
      'commit': found['commit'],
      'accuracies': found['roles'].get(source_role, {}),
    }
  return state.nets[source_role].replace(module=module), told


def load(
  config: ml_collections.ConfigDict, workdir, state: step_lib.State
) -> tuple[step_lib.State, dict[str, Any]]:
  """Puts networks of earlier runs and of files into a run's initial state.

  Args:
    config: validated.
    workdir: of the run; below it lie teachers that it had trained.
    state: of `build.state`.

  Returns:
    (state, role -> where its network comes from, as JSON).

  Raises:
    FileNotFoundError: a run is missing, or it saved nothing yet.
    ValueError: its network or data set is another one.
  """
  check_named(config)
  nets, told = torch_roles.load(config, dict(state.nets))
  for role in roles(config):
    settings, source = config[role], folder(config, workdir, role)
    earlier = checkpoint.read_config(source)
    check_fits(config, role, earlier, source, source_role=settings.role)
    which = _which(settings.role, settings.checkpoint)
    nets[role], told[role] = _load(
      source, settings.role, which, nets[role].module
    )
  if config.model.get('peer_from', ''):
    nets['peer'], told['peer'] = _load(
      config.model.peer_from, 'student', 'best', nets['peer'].module
    )
  if 'teacher' in told and config.teacher.initialise_student:
    for role in {'student', 'student_swa'} & set(nets):
      # Copies: a donated state must not name one buffer twice.
      nets[role] = nets[role].replace(
        params=jax.tree.map(jnp.copy, nets['teacher'].params),
        batch_stats=jax.tree.map(jnp.copy, nets['teacher'].batch_stats),
      )
  return state.replace(nets=nets), told
