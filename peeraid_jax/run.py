"""A run from its config to its result; `main` hands it the flags."""

import json
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np

from peeraid_jax import (
  build,
  checkpoint,
  evaluate,
  interrupts,
  metrics,
  parallel,
  validate,
)
from peeraid_jax import config as config_lib
from peeraid_jax import results as results_lib
from peeraid_jax import train as train_lib


def _evaluator(config: ml_collections.ConfigDict, **settings):
  return evaluate.make_evaluate(
    epsilon=config.attack.epsilon,
    step_size=config.attack.step_size,
    norm=config.attack.norm,
    batch_size=config.eval.batch_size,
    seed=config.seed,
    **settings,
  )


def _own(nets) -> dict[str, Any]:
  """The roles without the average, in the order of the tables."""
  order = ('student', 'student_swa', 'peer')
  return {role: nets[role] for role in order if role in nets}


def make_selection(config: ml_collections.ConfigDict, data):
  """Returns the evaluator that `train` calls at the end of an epoch.

  Clean and selection-attack accuracy of the student and its average, clean
  accuracy of the peer, and the peer's on images that attack the student: its
  specialisation.

  Args:
    config: validated.
    data: the selection `Dataset`.
  """
  run = _evaluator(config)
  attack = config.eval.select_attack

  def select(state, tick) -> dict[str, float]:
    nets = _own(state.nets)
    if int(state.swa_count) == 0:
      nets.pop('student_swa', None)
    attacks = {
      # Once each, also where the selection attack is 'clean'.
      role: ('clean',) if role == 'peer' else tuple({'clean': 0, attack: 0})
      for role in nets
    }
    transfer = []
    if 'peer' in nets:
      transfer = [evaluate.Transfer('peer', 'student', attack)]
    found = run(nets, data, attacks, transfer, tick)
    scalars = {
      f'select/{role}/{name}': float(np.mean(hits))
      for role, values in found.roles.items()
      for name, hits in values.items()
    }
    for name, hits in found.transfer.items():
      scalars[f'select/{name}'] = float(np.mean(hits))
    return scalars

  return select


def _open_workdir(config, workdir: pathlib.Path) -> None:
  """Makes a work directory, or checks that it is this config's.

  Raises:
    ValueError: it was made with another config; the difference is shown.
    NotADirectoryError, PermissionError: it cannot be used.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except (FileExistsError, NotADirectoryError):
    raise NotADirectoryError(
      f'--workdir={workdir} is not a folder, or lies in a file'
    ) from None
  path = workdir / 'config.json'
  given = config_lib.to_json(config)
  if path.exists():
    changed = config_lib.differences(json.loads(path.read_text()), given)
    if changed:
      lines = '\n'.join(
        f'  {field}: {old!r} there, {new!r} now'
        for field, (old, new) in changed.items()
      )
      raise ValueError(
        f'{workdir} was made with another config:\n{lines}\n'
        'Go on with that config, or name another folder with --workdir=DIR.'
      )
    return
  if any((workdir / 'checkpoints').glob('*/*')):
    raise ValueError(
      f'{workdir} has checkpoints but no config.json; name another folder '
      'with --workdir=DIR'
    )
  if jax.process_index() == 0:
    results_lib.write(path, given)


def _restore_for_results(config, workdir):
  """Returns role -> (net, where it comes from)."""
  which = {'student': 'best', 'peer': 'best', 'student_swa': 'best_swa'}
  states, found = {}, {}
  for role in ('student', 'student_swa', 'peer'):
    wanted = which[role]
    if config.eval.checkpoint == 'latest':
      wanted = 'latest'
    if checkpoint.latest_step(workdir, which=wanted) is None:
      continue
    if wanted not in states:
      states[wanted] = checkpoint.restore_with_meta(workdir, which=wanted)
    state, meta = states[wanted]
    started = role != 'student_swa' or int(state.swa_count)
    if role in state.nets and started:
      source = {'checkpoint': wanted, 'step': int(state.step)}
      if wanted in meta['best']:
        best = meta['best'][wanted]
        source |= {'epoch': best['epoch'], 'selection_score': best['score']}
      found[role] = (state.nets[role], source)
  if not found:
    raise FileNotFoundError(
      f'{workdir} has no {config.eval.checkpoint!r} checkpoint to evaluate; '
      'train first with --mode=train'
    )
  return found


def evaluate_run(config, workdir: pathlib.Path, test) -> dict[str, Any]:
  """Evaluates the saved networks of a run and writes `results.json`.

  Args:
    config: validated, that of the work directory.
    workdir: of the run.
    test: the test `Dataset`.

  Returns:
    What `results.json` holds.
  """
  restored = _restore_for_results(config, workdir)
  nets = {role: net for role, (net, _) in restored.items()}
  count = config.eval.examples or len(test.labels)
  data = test.take(slice(0, count))
  attacks = {role: tuple(config.eval.attacks) for role in nets}
  transfer = []
  if 'peer' in nets:
    transfer = [
      evaluate.Transfer('peer', 'student', name)
      for name in config.eval.attacks
      if name != 'clean'
    ]
  begun = time.monotonic()
  with interrupts.Interrupts() as signals:

    def tick(role, name, done, total):
      signals.check()
      if not done:
        metrics.say(f'evaluating {role}: {name} on {total} images')

    run = _evaluator(config, restarts=config.eval.restarts)
    found = run(nets, data, attacks, transfer, tick)
  stored = config_lib.to_json(config)
  # Where the data lay on this machine is no part of a result.
  stored['data'] |= {'dir': '', 'source': ''}
  content = {
    'config': stored,
    'commit': results_lib.commit(),
    'device': results_lib.device(),
    'versions': results_lib.versions(),
    'seed': config.seed,
    'selection': {
      'on': config.eval.select_on,
      'attack': config.eval.select_attack,
      'roles': {role: source for role, (_, source) in restored.items()},
    },
    'roles': {
      role: evaluate.summary(values) for role, values in found.roles.items()
    },
    'transfer': evaluate.summary(found.transfer),
    'history': [r for r in metrics.read(workdir) if 'epoch' in r],
    'evaluation_seconds': round(time.monotonic() - begun, 1),
  }
  if jax.process_index() == 0:
    results_lib.write(workdir / 'results.json', content)
    if config.eval.save_outcomes:
      flat = {
        f'{role}/{name}': hits
        for role, values in found.roles.items()
        for name, hits in values.items()
      }
      np.savez_compressed(
        workdir / 'outcomes.npz', labels=data.labels, **flat, **found.transfer
      )
  return content


def _next_steps(config_argument: str, workdir) -> str:
  command = f'python -m peeraid_jax.main --config={config_argument}'
  return (
    f'results: {workdir}/results.json\n'
    'next:\n'
    f'  {command} --workdir={workdir} --mode=evaluate '
    "--config.eval.attacks=\"('clean','pgd100')\"\n"
    f'  tensorboard --logdir={workdir}  (pip install tensorboard)\n'
    '  python -m peeraid_jax.main --config=configs/tinyimagenet.py'
  )


def run(
  config: ml_collections.ConfigDict, workdir, mode: str, config_argument: str
) -> dict[str, Any]:
  """Trains and evaluates, or evaluates alone.

  Args:
    config: as the flags gave it.
    workdir: of the run.
    mode: 'train' or 'evaluate'.
    config_argument: the value of --config, for what is printed.

  Returns:
    What `results.json` holds.

  Raises:
    ValueError, OSError: bad input, before anything is compiled.
  """
  validate.validate(config)
  workdir = pathlib.Path(workdir)
  parallel.check_batch(config.train.batch_size, 'train.batch_size')
  if mode == 'evaluate':
    checkpoint.read_config(workdir)
  splits = build.splits(config)
  _open_workdir(config, workdir)
  metrics.say(
    f'{config.method.name} on {config.data.name}: '
    f'{len(splits.train.labels)} training images, {results_lib.device()}, '
    f'work directory {workdir}'
  )
  for note in validate.notes(config):
    metrics.say(f'note: {note}')
  if mode == 'train':
    select = make_selection(config, splits.selection)
    train_lib.train(config, workdir, splits.train, select)
  content = evaluate_run(config, workdir, splits.test)
  metrics.say('\n' + results_lib.table(content) + '\n')
  metrics.say(_next_steps(config_argument, workdir))
  return content
