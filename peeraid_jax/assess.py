"""What a run's networks can do, at its end."""

import functools
import json
import os
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from peeraid_jax import attacks as attacks_lib
from peeraid_jax import (
  cascade,
  evaluate,
  interrupts,
  metrics,
  obfuscation,
  saved,
  selection,
)
from peeraid_jax import config as config_lib
from peeraid_jax import results as results_lib
from peeraid_jax.data import corruptions as corruptions_lib


def _every_transfer(nets, attack: str = 'pgd20') -> list[evaluate.Transfer]:
  """Each network on images that attack each other one: the black-box table."""
  roles = list(selection.own(nets))
  return [
    evaluate.Transfer(target, source, attack)
    for source in roles
    for target in (*roles, *({'teacher'} & set(nets)))
    if target != source
  ]


_FOLDERS = ('dir', 'source', 'corruptions', 'torch')


def _without_folders(config) -> dict[str, Any]:
  """A config as JSON; where files lay on this machine is left out."""
  stored = config_lib.to_json(config)
  del stored['distributed']
  for field, value in config_lib.flatten(stored).items():
    *path, name = field.split('.')
    if name in (*_FOLDERS, 'workdir', 'peer_from') and value:
      section = functools.reduce(lambda c, n: c[n], path, stored)
      # A relative one, of runs beside each other, says which run it was.
      kept = name in ('workdir', 'peer_from') and not os.path.isabs(value)
      section[name] = value if kept else ''
  return stored


def _earlier(workdir: pathlib.Path, sources: dict[str, dict]) -> dict:
  """Returns the results of the same networks that are there already."""
  path = workdir / 'results.json'
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text())
    same = found['selection']['roles'] == json.loads(json.dumps(sources))
  except (ValueError, TypeError, KeyError) as error:
    metrics.say(f'warning: {path} is damaged ({error}); it is written anew')
    return {}
  return found if same else {}


def _save_outcomes(workdir, labels, found, cascaded) -> None:
  """Writes what became of each example."""
  flat = {
    f'{role}/{name}': hits
    for role, values in found.roles.items()
    for name, hits in values.items()
  }
  flat |= found.transfer
  for role, values in cascaded.items():
    for name, outcome in values.items():
      flat[f'{role}/{name}'] = np.array(outcome) == 'robust'
      flat[f'{role}/{name}_outcome'] = np.array(outcome)
  np.savez_compressed(workdir / 'outcomes.npz', labels=labels, **flat)


def _corrupted(run, nets, corruptions, examples, tick) -> dict[str, Any]:
  """Returns role -> {'mean', 'n', 'each': name -> one per severity}."""
  found = {role: {'mean': 0.0, 'n': 0, 'each': {}} for role in nets}
  for name, severity, data in corruptions.read(examples):
    metrics.say(f'{name}, severity {severity}')
    clean = run(nets, data, dict.fromkeys(nets, ('clean',)), (), tick).roles
    for role, hits in clean.items():
      found[role]['n'] = len(data.labels)
      each = found[role]['each'].setdefault(name, [])
      each.append(float(hits['clean'].mean()))
  for value in found.values():
    value['mean'] = float(np.mean(list(value['each'].values())))
  return found


class _Asked(NamedTuple):
  """What `config.eval.attacks` asks for."""

  plain: tuple[str, ...]
  cascades: tuple[str, ...]
  every_transfer: bool
  masked: bool


def _asked(config) -> _Asked:
  names = config.eval.attacks
  special = (*attacks_lib.CASCADE, *attacks_lib.OTHER)
  cascades = [n for n in names if n in attacks_lib.CASCADE]
  masked = 'obfuscation' in names
  if masked:
    cascades += [n for n in ('apgd_t', 'square') if n not in cascades]
  return _Asked(
    tuple(n for n in names if n not in special),
    tuple(cascades),
    'transfer' in names,
    masked,
  )


class _Measured(NamedTuple):
  """What was found of a run's networks, by role.

  Attributes:
    found: outcomes of the plain attacks and of transfer.
    corrupted: accuracies on corrupted images.
    masked: what `obfuscation.judge` needs.
    strong: role -> attack -> report of AutoAttack or a part of it.
    outcomes: role -> attack -> outcome of each point, of the same.
  """

  found: evaluate.Outcomes
  corrupted: dict[str, Any]
  masked: dict[str, Any]
  strong: dict[str, dict[str, Any]]
  outcomes: dict[str, dict[str, list[str]]]


def _measure(config, workdir, nets, sources, data, corruptions) -> _Measured:
  """Attacks the networks of a run as its config asks for."""
  asked = _asked(config)
  every = selection.own(nets)
  own = {r: net for r, net in every.items() if r in config.eval.roles}
  if not own:
    raise ValueError(
      f'config.eval.roles={config.eval.roles}: {workdir} has {", ".join(every)}'
    )
  transfers = dict.fromkeys(selection.transfers(nets, asked.plain))
  if asked.every_transfer:
    transfers |= dict.fromkeys(_every_transfer(nets))
  corrupted, masked = {}, {}
  with interrupts.Interrupts() as signals:

    def tick(role, name, done, total):
      signals.check()
      if not done:
        metrics.say(f'evaluating {role}: {name} on {total} images')

    run = selection.evaluator(config, restarts=config.eval.restarts)
    # A teacher's own accuracies are in the results of the run that trained it.
    attacks = dict.fromkeys(own, asked.plain)
    found = run(nets, data, attacks, list(transfers), tick)
    if corruptions is not None:
      corrupted = _corrupted(
        run,
        own,
        corruptions,
        len(data.labels),
        lambda *progress: signals.check(),
      )
    if asked.masked:
      masked = obfuscation.measure(
        nets,
        data,
        epsilon=config.attack.epsilon,
        step_size=config.attack.step_size,
        norm=config.attack.norm,
        roles=tuple(own),
        batch_size=config.eval.batch_size,
        seed=config.seed,
        tick=tick,
      )
    strong, outcomes = cascade.evaluate(
      config, workdir, own, sources, data, asked.cascades, signals
    )
  return _Measured(found, corrupted, masked, strong, outcomes)


def _joined(earlier: dict, content: dict, measured: _Measured, plain) -> dict:
  """Adds what is known of the same networks already.

  Args:
    earlier: results of the same networks, or nothing.
    content: results of this evaluation, without AutoAttack's.
    measured: what they were made of.
    plain: whether plain attacks were asked for; else the earlier ones stay.
  """
  if not plain and earlier:
    content = {
      **earlier,
      'transfer': earlier['transfer'] | content['transfer'],
    }
  strong = {r: dict(v) for r, v in earlier.get('autoattack', {}).items()}
  for role, values in measured.strong.items():
    strong.setdefault(role, {}).update(values)
  judged = {
    role: obfuscation.judge(
      values,
      **{
        name: measured.strong[role][name]['robust_accuracy']
        for name in ('apgd_t', 'square')
      },
    )
    for role, values in measured.masked.items()
  }
  return {
    **content,
    'autoattack': strong,
    'obfuscation': earlier.get('obfuscation', {}) | judged,
    'corruptions': earlier.get('corruptions', {}) | measured.corrupted,
  }


def evaluate_run(
  config,
  workdir: pathlib.Path,
  test,
  corruptions: corruptions_lib.Folder | None = None,
) -> dict[str, Any]:
  """Evaluates the saved networks of a run and writes `results.json`.

  Where only AutoAttack, parts of it, transfer or the checks for masked
  gradients are asked for, what is known of the same networks already stays.

  Args:
    config: validated, that of the work directory.
    workdir: of the run.
    test: the test `Dataset`.
    corruptions: corrupted test images, if there are any.

  Returns:
    What `results.json` holds.
  """
  restored, told = saved.restore(config, workdir)
  nets = {role: net for role, (net, _) in restored.items()}
  sources = {r: source for r, (_, source) in restored.items() if r != 'teacher'}
  data = test.take(slice(0, config.eval.examples or len(test.labels)))
  begun = time.monotonic()
  measured = _measure(config, workdir, nets, sources, data, corruptions)
  content = {
    'config': _without_folders(config),
    'commit': results_lib.commit(),
    'device': results_lib.device(),
    'versions': results_lib.versions(),
    'seed': config.seed,
    'selection': {
      'on': config.eval.select_on,
      'attack': config.eval.select_attack,
      'roles': sources,
    },
    'teachers': told,
    'roles': {
      role: evaluate.summary(values)
      for role, values in measured.found.roles.items()
    },
    'transfer': evaluate.summary(measured.found.transfer),
    'history': [r for r in metrics.read(workdir) if 'epoch' in r],
    'evaluation_seconds': round(time.monotonic() - begun, 1),
  }
  content = _joined(
    _earlier(workdir, sources), content, measured, bool(_asked(config).plain)
  )
  if jax.process_index() == 0:
    results_lib.write(workdir / 'results.json', content)
    if config.eval.save_outcomes:
      _save_outcomes(workdir, data.labels, measured.found, measured.outcomes)
  return content
