"""A run from its config to its result; `main` hands it the flags."""

import contextlib
import pathlib
import shlex
from typing import Any

import ml_collections

from peeraid_jax import (
  assess,
  build,
  checkpoint,
  metrics,
  parallel,
  processes,
  selection,
  teachers,
  torch_roles,
  validate,
)
from peeraid_jax import config as config_lib
from peeraid_jax import results as results_lib
from peeraid_jax import train as train_lib
from peeraid_jax import workdir as workdir_lib
from peeraid_jax.data import facts


def _overrides(config, config_argument: str) -> list[str]:
  """Returns the flags that make this config of the file that was given."""
  plain = config_lib.flatten(config_lib.load(config_argument))
  return [
    shlex.quote(f'--config.{field}={value}')
    for field, value in config_lib.flatten(config).items()
    if plain.get(field) != value
    and not isinstance(value, ml_collections.ConfigDict)  # without fields
    # Given below, filled in, and of one process.
    and field not in ('eval.attacks', 'data.num_classes')
    and not field.startswith('distributed.')
  ]


def _next_steps(config, config_argument: str, workdir) -> str:
  command = [
    f'python -m peeraid_jax.main --config={config_argument}',
    f'--workdir={workdir} --mode=evaluate',
    *_overrides(config, config_argument),
    "--config.eval.attacks=\"('clean','pgd100')\"",
  ]
  return (
    f'results: {workdir}/results.json\n'
    'next:\n'
    f'  {" ".join(command)}\n'
    f'  tensorboard --logdir={workdir}  (pip install tensorboard)\n'
    '  python -m peeraid_jax.main --config=configs/tinyimagenet.py'
  )


def _teacher_runs(config, workdir, config_argument: str):
  """Returns role -> (config, work directory) of teachers to train first.

  Raises:
    ValueError: such a config is bad, or makes another network.
  """
  found = {}
  for role in teachers.roles(config):
    where = teachers.folder(config, workdir, role)
    if config[role].workdir or (where / 'results.json').exists():
      continue
    made = teachers.teacher_config(config, role, config_argument)
    validate.validate(made)
    teachers.check_fits(
      config, role, made, where, source_role=config[role].role
    )
    found[role] = (made, where)
  return found


def _run(
  config: ml_collections.ConfigDict, workdir, mode: str, config_argument: str
) -> dict[str, Any]:
  """A run and, before it, those of the teachers it needs; as of `run`."""
  workdir = pathlib.Path(workdir)

  def before_anything_expensive():
    build.complete(config)
    imported = torch_roles.fill_in(config)
    validate.validate(config)
    height, width, _ = facts.of(config.data).shape
    parallel.use_cores(
      (
        config.train.batch_size // config.train.microbatches,
        config.eval.batch_size,
      ),
      height * width,
    )
    parallel.check_batch(
      config.train.batch_size,
      'train.batch_size',
      parts=config.train.microbatches,
    )
    for line in imported:
      metrics.say(line)
    if mode == 'evaluate' and not config.model.torch:
      checkpoint.read_config(workdir)
    # Teachers are needed at the start; then they are in the checkpoints.
    begins = mode == 'train' and checkpoint.latest_step(workdir) is None
    if begins:
      teachers.check_named(config)
    splits = build.splits(config)
    build.resident(config, splits.train)
    corrupted = build.corruptions(config)
    training = {}
    if begins:
      training = _teacher_runs(config, workdir, config_argument)
    return splits, corrupted, training

  splits, corrupted, training = processes.together(before_anything_expensive)
  with contextlib.ExitStack() as stack:

    def open_workdir():
      stack.enter_context(workdir_lib.held(workdir))
      workdir_lib.prepare(config, workdir)

    processes.together(open_workdir)
    for role, (made, where) in training.items():
      argument = teachers.train_argument(config, role, config_argument)
      metrics.say(f'{role}: trained first, in {where}, by {argument}')
      _run(made, where, 'train', argument)
    metrics.say(
      f'{config.method.name} on {config.data.name}: '
      f'{len(splits.train.labels)} training images, {results_lib.device()}, '
      f'work directory {workdir}'
    )
    for note in validate.notes(config):
      metrics.say(f'note: {note}')
    if mode == 'train':
      select = selection.make_selection(config, splits.selection)
      train_lib.train(config, workdir, splits.train, select)
    content = assess.evaluate_run(config, workdir, splits.test, corrupted)
    metrics.say('\n' + results_lib.table(content) + '\n')
    return content


def _of_all(config) -> dict[str, Any]:
  """A config, flat, without what tells the processes apart."""
  flat = config_lib.flatten(config_lib.to_json(config))
  return {k: v for k, v in flat.items() if not k.startswith('distributed.')}


def run(
  config: ml_collections.ConfigDict, workdir, mode: str, config_argument: str
) -> dict[str, Any]:
  """Trains and evaluates, or evaluates alone.

  A teacher that the config does not name is trained first, in a folder of
  its own below the work directory.

  Args:
    config: as the flags gave it.
    workdir: of the run.
    mode: 'train' or 'evaluate'.
    config_argument: the value of --config, for what is printed, and for a
      teacher's config.

  Returns:
    What `results.json` holds.

  Raises:
    ValueError, OSError: bad input, before anything is compiled.
  """
  processes.check_agreement(
    'configs',
    {
      **_of_all(config),
      '--workdir': str(workdir),
      '--mode': mode,
    },
  )
  content = _run(config, workdir, mode, config_argument)
  metrics.say(_next_steps(config, config_argument, workdir))
  return content
