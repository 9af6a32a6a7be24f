"""Networks of earlier runs: teachers, and partners to start from.

`provenance` here is a JSON record of the run and checkpoint that a network
comes from; it goes into the results.
"""

import ast
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax.config import dataset
from peeraid_jax.runtime import results
from peeraid_jax.runtime import workdir as workdir_lib
from peeraid_jax.training import build, checkpoint, torch_files
from peeraid_jax.training import step as step_lib

# Fields that a teacher trained on demand takes from the run that needs it.
# Seed, data and selection: it must not see that run's validation images.
_INHERITED = (
  'seed',
  'dtype',
  'model.normalization',
  'eval.select_on',
  'eval.examples',
  'eval.subset',
  'eval.batch_size',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
)
# Likewise, but only where the config file or the user changed them: TRADES, for
# one, trains teachers with a radius and step of its own.
_INHERITED_IF_CHANGED = (
  'attack.norm',
  'attack.epsilon',
  'attack.step_size',
)


def train_argument(
  config: ml_collections.ConfigDict, role: str, file: str
) -> str:
  """Returns the value of --config for the run that trains a teacher.

  Args:
    config: of the run that needs the teacher.
    role: of the teacher.
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
    role: of the teacher.
    file: of that run's config, with its choices.

  Raises:
    FileNotFoundError: no such config file.
    ValueError: an unknown choice, field or value.
  """
  teacher = config_lib.load(train_argument(config, role, file))
  teacher.data = ml_collections.ConfigDict(config.data)
  given = config_lib.flatten(config)
  defaults = config_lib.flatten(config_lib.base(method=config.method.name))
  changed = [f for f in _INHERITED_IF_CHANGED if given[f] != defaults[f]]
  inherited = [*_INHERITED, *changed]
  if changed:
    # A recipe's own step belongs to the recipe's radius.
    inherited.append('eval.step_size')
  teacher.update_from_flattened_dict({f: given[f] for f in inherited})
  teacher.model.width = config_lib.width(config, role)
  teacher.lock()
  for override in config[role].train_overrides:
    _override(teacher, override, f'config.{role}.train_overrides')
  return teacher


def _override(teacher, override: str, where: str) -> None:
  """Sets 'field=value' in a teacher's config."""
  field, equals, value = override.partition('=')
  if not equals or field not in config_lib.flatten(teacher):
    raise ValueError(
      f'{where} has {override!r}: {config_lib.suggest(field, teacher)}'
    )
  try:
    teacher.update_from_flattened_dict({field: ast.literal_eval(value)})
  except (ValueError, SyntaxError, TypeError) as error:
    raise ValueError(f'{where} has {override!r}: {error}') from None


def folder(config: ml_collections.ConfigDict, workdir, role: str):
  """Returns the work directory of the run that trains a teacher."""
  return pathlib.Path(config[role].workdir or pathlib.Path(workdir) / role)


def roles(config: ml_collections.ConfigDict) -> list[str]:
  """Returns the roles whose networks come from other runs, not from files."""
  return [r for r in config_lib.teacher_roles(config) if not config[r].torch]


def _describe(config: ml_collections.ConfigDict, role: str) -> str:
  """Describes a role's network; equal texts mean equal parameter shapes."""
  facts = dataset.facts_of(config.data)
  network = config_lib.network(config, role)
  channels = facts.shape[-1]
  colours = {1: 'grey', 3: 'colour'}.get(channels, channels)
  text = (
    f'{network.architecture} of width {network.width} for '
    f'{facts.num_classes} classes of {colours} images'
  )
  if network.normalization != 'none':
    text += f', normalization {network.normalization}'
  if network.temperature != 1:
    text += f', temperature {network.temperature}'
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
  base_role = source_role.removesuffix('_swa')
  if base_role not in config_lib.roles(earlier):
    raise ValueError(
      f'config.{field}={source}: that run has no {source_role!r}; it has '
      f'{", ".join(config_lib.roles(earlier))}'
    )
  theirs, ours = _describe(earlier, base_role), _describe(config, role)
  if theirs != ours:
    raise ValueError(
      f'config.{field}={source}: its {source_role} is {theirs}, this '
      f"run's {role} is {ours}"
    )
  if earlier.data.name != config.data.name:
    raise ValueError(
      f'config.{field}={source}: it was trained on {earlier.data.name}, this '
      f'run trains on {config.data.name}'
    )


def _partners_from(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns role -> work directory that a partner starts from."""
  sources = {
    role: config.model.get(f'{role}_from', '')
    for role in config_lib.trained_roles(config)
  }
  return {role: source for role, source in sources.items() if source}


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
    which = checkpoint.which_of(settings.role, settings.checkpoint)
    try:
      earlier = workdir_lib.read_config(settings.workdir)
      check_fits(
        config, role, earlier, settings.workdir, source_role=settings.role
      )
      if checkpoint.latest_step(settings.workdir, which=which) is None:
        raise FileNotFoundError(
          f'{settings.workdir} has no {which!r} checkpoint'
        )
    except FileNotFoundError as error:
      raise FileNotFoundError(
        f'config.{role}.workdir: {error}; train it first, or leave the field '
        'empty to have a teacher trained'
      ) from None
  for role, source in _partners_from(config).items():
    earlier = workdir_lib.read_config(source)
    check_fits(config, role, earlier, source, field=f'model.{role}_from')


def _load(source, source_role: str, which: str, module, *, otherwise: str = ''):
  """Returns a network of an earlier run, and its provenance.

  Another checkpoint than the one that was asked for would train something
  else: if it is damaged, the message says `otherwise`.
  """
  try:
    state, _ = checkpoint.restore_with_meta(source, which=which)
  except ValueError as error:
    raise ValueError(f'{error}{otherwise}') from error
  if source_role == 'student_swa' and not int(state.swa_count):
    raise ValueError(f'{source}: its average has not begun')
  earlier = workdir_lib.read_config(source)
  provenance = {
    'method': earlier.method.name,
    'seed': earlier.seed,
    'model': _describe(earlier, source_role.removesuffix('_swa')),
    'role': source_role,
    'checkpoint': which,
    'step': int(state.step),
  }
  content = results.read(source)
  if content is not None:
    provenance |= {
      'commit': content['commit'],
      'accuracies': content['roles'].get(source_role, {}),
    }
  return state.nets[source_role].replace(module=module), provenance


def load(
  plan: build.Plan, workdir, state: step_lib.State
) -> tuple[step_lib.State, dict[str, Any]]:
  """Puts networks of earlier runs and of files into a run's initial state.

  Args:
    plan: of the run.
    workdir: of the run; below it are the teachers that it had trained.
    state: of `build.initial_state`.

  Returns:
    (state, role -> provenance of its network).

  Raises:
    FileNotFoundError: a run is missing, or it saved nothing yet.
    ValueError: its network or data set is another one.
  """
  config = plan.config
  check_named(config)
  nets, provenance = torch_files.load(config, dict(state.nets))
  for role in roles(config):
    settings, source = config[role], folder(config, workdir, role)
    earlier = workdir_lib.read_config(source)
    check_fits(config, role, earlier, source, source_role=settings.role)
    which = checkpoint.which_of(settings.role, settings.checkpoint)
    nets[role], provenance[role] = _load(
      source,
      settings.role,
      which,
      nets[role].module,
      otherwise=f'. --config.{role}.checkpoint=latest takes the latest one',
    )
  for role, source in _partners_from(config).items():
    nets[role], provenance[role] = _load(
      source, 'student', 'best', nets[role].module
    )
  if 'teacher' in provenance and config.teacher.initialise_student:
    for role in {'student', 'student_swa'} & set(nets):
      # Copies: a donated state must not name one buffer twice.
      nets[role] = nets[role].replace(
        params=jax.tree.map(jnp.copy, nets['teacher'].params),
        batch_stats=jax.tree.map(jnp.copy, nets['teacher'].batch_stats),
      )
  return state.replace(nets=nets), provenance
