"""One run, from a config to results.json; `main` hands it the flags."""

import contextlib
import pathlib
import shlex
from typing import Any, NamedTuple

import ml_collections

from peeraid_jax import config as config_lib
from peeraid_jax.config import dataset, validate
from peeraid_jax.evaluation import final, result_content, selection, table
from peeraid_jax.runtime import parallel, processes, progress
from peeraid_jax.runtime import results as results_lib
from peeraid_jax.runtime import workdir as workdir_lib
from peeraid_jax.training import (
  build,
  checkpoint,
  loop,
  teachers,
  torch_files,
)


class _Prepared(NamedTuple):
  """What is known before anything is compiled.

  Attributes:
    plan: of the run.
    splits: its data.
    corruptions: corrupted test images, or None.
    teacher_runs: role -> (config, work directory) of teachers to train first.
  """

  plan: build.Plan
  splits: dataset.Splits
  corruptions: Any
  teacher_runs: dict[str, tuple[ml_collections.ConfigDict, pathlib.Path]]


def _overrides(config, config_argument: str) -> list[str]:
  """Returns the flags that turn the named config into this one."""
  plain = config_lib.flatten(config_lib.load(config_argument))
  return [
    shlex.quote(f'--config.{field}={value}')
    for field, value in config_lib.flatten(config).items()
    if plain.get(field) != value
    and not isinstance(value, ml_collections.ConfigDict)  # An empty section.
    # The next command has attacks of its own; `complete` counts the classes.
    and field not in ('eval.attacks', 'data.num_classes')
    and not field.startswith('distributed.')  # Of this process alone.
  ]


def _next_steps(config, config_argument: str, workdir) -> str:
  """Returns commands that a user may want to run next."""
  command = [
    'python -m peeraid_jax.main',
    shlex.quote(f'--config={config_argument}'),
    shlex.quote(f'--workdir={workdir}'),
    '--mode=evaluate',
    *_overrides(config, config_argument),
    "--config.eval.attacks=\"('clean','pgd100')\"",
  ]
  return (
    f'results: {workdir}/results.json\n'
    'next:\n'
    f'  {" ".join(command)}\n'
    f'  tensorboard --logdir={shlex.quote(str(workdir))}  '
    '(pip install tensorboard)\n'
    '  python -m peeraid_jax.main --config=configs/tinyimagenet.py'
  )


def _teacher_runs(config, workdir, config_argument: str):
  """Returns role -> (config, work directory) of teachers to train first.

  Raises:
    ValueError: such a config is bad, or trains a network that does not fit.
  """
  runs = {}
  for role in teachers.roles(config):
    where = teachers.folder(config, workdir, role)
    if config[role].workdir or (where / 'results.json').exists():
      continue
    teacher = teachers.teacher_config(config, role, config_argument)
    config_lib.complete(teacher)
    validate.validate(teacher)
    build.plan(teacher)
    teachers.check_fits(
      config, role, teacher, where, source_role=config[role].role
    )
    runs[role] = (teacher, where)
  return runs


def _set_up_devices(config: ml_collections.ConfigDict) -> None:
  """Chooses the number of CPU devices, and checks that batches divide."""
  height, width, _ = dataset.facts_of(config.data).shape
  microbatches = config.train.microbatches
  parallel.use_cores(
    (config.train.batch_size // microbatches, config.eval.batch_size),
    height * width,
  )
  parallel.check_batch(
    config.train.batch_size, 'train.batch_size', parts=microbatches
  )


def _prepare(config, workdir, mode: str, config_argument: str) -> _Prepared:
  """Checks everything that can be checked before anything is compiled."""
  config_lib.complete(config)
  imported = torch_files.fill_in(config)
  validate.validate(config)
  _set_up_devices(config)
  for line in imported:
    progress.say(line)
  if mode == 'evaluate' and not config.model.torch:
    workdir_lib.read_config(workdir)
  # Teachers are read at the start alone; checkpoints then contain them.
  begins = mode == 'train' and checkpoint.latest_step(workdir) is None
  if begins:
    teachers.check_named(config)
  splits = dataset.splits(config)
  plan = build.plan(config, examples=len(splits.train.labels))
  # Raises here if the method draws images by class, and a class has none.
  build.resident(plan, splits.train)
  teacher_runs = {}
  if begins:
    teacher_runs = _teacher_runs(config, workdir, config_argument)
  return _Prepared(plan, splits, dataset.corruptions(config), teacher_runs)


def _run(
  config: ml_collections.ConfigDict, workdir, mode: str, config_argument: str
) -> dict[str, Any]:
  """Runs a config and, before it, those of the teachers it needs."""
  workdir = pathlib.Path(workdir)
  prepared = processes.together(
    lambda: _prepare(config, workdir, mode, config_argument)
  )
  splits = prepared.splits
  with contextlib.ExitStack() as stack:

    def open_workdir():
      stack.enter_context(workdir_lib.held(workdir))
      workdir_lib.prepare(config, workdir)

    processes.together(open_workdir)
    for role, (teacher, where) in prepared.teacher_runs.items():
      argument = teachers.train_argument(config, role, config_argument)
      progress.say(f'{role}: trained first, in {where}, by {argument}')
      _run(teacher, where, 'train', argument)
    progress.say(
      f'{config.method.name} on {config.data.name}: '
      f'{len(splits.train.labels)} training images, {results_lib.device()}, '
      f'work directory {workdir}'
    )
    for note in validate.notes(config):
      progress.say(f'note: {note}')
    if mode == 'train':
      processes.together(lambda: result_content.set_aside_if_new(workdir))
      select = selection.make_selection(config, splits.selection)
      loop.train(prepared.plan, workdir, splits.train, select)
    content = final.evaluate_run(
      config, workdir, splits.test, prepared.corruptions
    )
    progress.say('\n' + table.table(content) + '\n')
    return content


def run(
  config: ml_collections.ConfigDict, workdir, mode: str, config_argument: str
) -> dict[str, Any]:
  """Trains and evaluates, or evaluates alone.

  A teacher that the config does not name is trained first, in a folder below
  the work directory.

  Args:
    config: as the flags gave it; fields that follow from others are filled
      in.
    workdir: of the run.
    mode: 'train' or 'evaluate'.
    config_argument: the value of --config, for what is printed, and for a
      teacher's config.

  Returns:
    The content of `results.json`.

  Raises:
    ValueError, OSError: bad input, before anything is compiled.
  """
  fields = config_lib.flatten(config_lib.to_json(config))
  # What distinguishes the processes from each other may differ.
  shared = {k: v for k, v in fields.items() if not k.startswith('distributed.')}
  processes.check_agreement(
    'configs', {**shared, '--workdir': str(workdir), '--mode': mode}
  )
  content = _run(config, workdir, mode, config_argument)
  progress.say(_next_steps(config, config_argument, workdir))
  return content
