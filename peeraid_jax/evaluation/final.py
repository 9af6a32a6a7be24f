"""Final evaluation of a run; writes results.json and outcomes.npz.

`evaluate_run` restores the saved networks, attacks them as
`config.eval.attacks` requests, joins the accuracies with those of earlier
evaluations of the same networks, and writes the result.
"""

import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from peeraid_jax import attacks as attacks_lib
from peeraid_jax import autoattack
from peeraid_jax import config as config_lib
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.evaluation import (
  accuracy,
  autoattack_run,
  networks,
  obfuscation,
  result_content,
  selection,
)
from peeraid_jax.runtime import files, interrupts, metrics_log, progress
from peeraid_jax.runtime import results as results_lib

# The checks for masked gradients compare these two.
_OBFUSCATION_ATTACKS = ('apgd_t', 'square')


class _Request(NamedTuple):
  """What `config.eval.attacks` requests.

  Attributes:
    plain: attacks of `attacks.named`, such as 'clean' and 'pgd20'.
    autoattack: 'autoattack' and single attacks of it.
    all_transfers: each network on images that attack each other network.
    obfuscation: the checks for masked gradients.
  """

  plain: tuple[str, ...]
  autoattack: tuple[str, ...]
  all_transfers: bool
  obfuscation: bool


def _request(config) -> _Request:
  """Sorts the names in `config.eval.attacks` by what computes them."""
  names = config.eval.attacks
  plain = [
    name
    for name in names
    if name not in (*attacks_lib.CASCADE, *attacks_lib.OTHER)
  ]
  autoattack_names = [name for name in names if name in attacks_lib.CASCADE]
  if 'obfuscation' in names:
    autoattack_names += [
      name for name in _OBFUSCATION_ATTACKS if name not in autoattack_names
    ]
  return _Request(
    tuple(plain),
    tuple(autoattack_names),
    'transfer' in names,
    'obfuscation' in names,
  )


class _Measurements(NamedTuple):
  """What an evaluation measured of a run's networks.

  Attributes:
    outcomes: of the plain attacks and of transfer, per example.
    corrupted: role -> accuracies on corrupted images.
    obfuscation: role -> accuracies that `obfuscation.judge` needs.
    reports: role -> attack -> report of AutoAttack or a single attack of it.
    autoattack_outcomes: role -> attack -> outcome of each point, of the same.
  """

  outcomes: accuracy.Outcomes
  corrupted: dict[str, Any]
  obfuscation: dict[str, Any]
  reports: dict[str, dict[str, Any]]
  autoattack_outcomes: dict[str, dict[str, list[str]]]


def _transfers(nets, request: _Request) -> list[accuracy.Transfer]:
  """Returns the transfers to measure, without duplicates.

  These are the student's images for each plain attack, and on request those
  of every network against every other one, by PGD-20. A teacher only
  classifies images of others; it is not attacked.
  """
  transfers = selection.transfers(nets, request.plain)
  if request.all_transfers:
    sources = list(selection.own_nets(nets))
    transfers += [
      accuracy.Transfer(target, source, 'pgd20')
      for source in sources
      for target in (*sources, *({'teacher'} & set(nets)))
      if target != source
    ]
  return list(dict.fromkeys(transfers))


def _measure_corrupted(
  evaluate, nets, corruptions, examples: int, tick
) -> dict[str, Any]:
  """Measures clean accuracy on corrupted images.

  Args:
    evaluate: an evaluator of `accuracy`.
    nets: role -> network.
    corruptions: a `corruptions.Folder`.
    examples: number of images of each corruption and severity.
    tick: as of the evaluator.

  Returns:
    role -> {'mean': over all corruptions, 'n': images of each, 'each':
    corruption -> list of accuracies, one per severity}.
  """
  measured = {role: {'mean': 0.0, 'n': 0, 'each': {}} for role in nets}
  attacks = dict.fromkeys(nets, ('clean',))
  for name, severity, data in corruptions.read(examples):
    progress.say(f'{name}, severity {severity}')
    outcomes = evaluate(nets, data, attacks, (), tick)
    for role, by_attack in outcomes.roles.items():
      measured[role]['n'] = len(data.labels)
      by_severity = measured[role]['each'].setdefault(name, [])
      by_severity.append(float(by_attack['clean'].mean()))
  for values in measured.values():
    values['mean'] = float(np.mean(list(values['each'].values())))
  return measured


def _evaluated_nets(config, workdir, nets) -> dict[str, Any]:
  """Returns the run's own networks that `config.eval.roles` names.

  A teacher's accuracies are in the results of the run that trained it.
  """
  own = selection.own_nets(nets)
  evaluated = {r: net for r, net in own.items() if r in config.eval.roles}
  if not evaluated:
    raise ValueError(
      f'config.eval.roles={config.eval.roles} should name networks of the '
      f'run; {workdir} has {", ".join(own)}'
    )
  return evaluated


def _measure(
  config, workdir, nets, sources, data, corruptions
) -> _Measurements:
  """Attacks the networks of a run as its config requests."""
  request = _request(config)
  evaluated = _evaluated_nets(config, workdir, nets)
  corrupted, for_judge = {}, {}
  with interrupts.Interrupts() as signals:

    def tick(role, name, done, total):
      signals.check()
      if not done:
        progress.say(f'evaluating {role}: {name} on {total} images')

    evaluate = selection.evaluator(config, restarts=config.eval.restarts)
    attacks = dict.fromkeys(evaluated, request.plain)
    outcomes = evaluate(nets, data, attacks, _transfers(nets, request), tick)
    if corruptions is not None:
      corrupted = _measure_corrupted(
        evaluate, evaluated, corruptions, len(data.labels), signals.check
      )
    if request.obfuscation:
      for_judge = obfuscation.measure(
        nets,
        data,
        epsilon=config.attack.epsilon,
        step_size=config_lib.eval_step_size(config),
        norm=config.attack.norm,
        roles=tuple(evaluated),
        batch_size=config.eval.batch_size,
        seed=config.seed,
        tick=tick,
      )
    reports, autoattack_outcomes = autoattack_run.evaluate(
      config, workdir, evaluated, sources, data, request.autoattack, signals
    )
  return _Measurements(
    outcomes, corrupted, for_judge, reports, autoattack_outcomes
  )


def _judged(measured: _Measurements) -> dict[str, Any]:
  """Returns role -> the checks for masked gradients, if requested."""
  judged = {}
  for role, accuracies in measured.obfuscation.items():
    robust = {
      name: measured.reports[role][name]['robust_accuracy']
      for name in _OBFUSCATION_ATTACKS
    }
    judged[role] = obfuscation.judge(accuracies, **robust)
  return judged


def _save_outcomes(workdir, labels, measured: _Measurements) -> None:
  """Saves per-example outcomes of this evaluation in `outcomes.npz`."""
  arrays = {
    f'{role}/{name}': correct
    for role, by_attack in measured.outcomes.roles.items()
    for name, correct in by_attack.items()
  }
  arrays |= measured.outcomes.transfer
  for role, by_attack in measured.autoattack_outcomes.items():
    for name, outcome in by_attack.items():
      arrays[f'{role}/{name}'] = np.array(outcome) == autoattack.ROBUST
      arrays[f'{role}/{name}_outcome'] = np.array(outcome)
  path = workdir / 'outcomes.npz'
  with files.replacing(path, suffix='.tmp.npz') as temporary:
    np.savez_compressed(temporary, labels=labels, **arrays)


def evaluate_run(
  config,
  workdir: pathlib.Path,
  test,
  corruptions: corruptions_lib.Folder | None = None,
) -> dict[str, Any]:
  """Evaluates the saved networks of a run and writes `results.json`.

  If `config.eval.attacks` requests only AutoAttack, single attacks of it,
  transfer or the checks for masked gradients, the earlier accuracies of the
  same networks stay in the file.

  Args:
    config: validated, the config of the work directory.
    workdir: work directory of the run.
    test: the test `Dataset`.
    corruptions: corrupted test images, if there are any.

  Returns:
    The content of `results.json`.

  Raises:
    FileNotFoundError: the run has no checkpoint.
    ValueError: `config.eval.roles` names no network of the run.
    interrupts.Interrupted: a signal arrived.
  """
  restored, teachers = networks.restore(config, workdir)
  nets = {role: net for role, (net, _) in restored.items()}
  sources = {r: source for r, (_, source) in restored.items() if r != 'teacher'}
  data = test.take(slice(0, config.eval.examples or len(test.labels)))
  start_time = time.monotonic()
  measured = _measure(config, workdir, nets, sources, data, corruptions)
  seconds = time.monotonic() - start_time
  content = result_content.joined(
    result_content.earlier(workdir, sources),
    _new_content(config, workdir, sources, teachers, measured, seconds),
    replaces_accuracies=bool(_request(config).plain),
    autoattack=measured.reports,
    obfuscation=_judged(measured),
    corruptions=measured.corrupted,
  )
  if jax.process_index() == 0:
    files.write_json(workdir / 'results.json', content)
    if config.eval.save_outcomes:
      _save_outcomes(workdir, data.labels, measured)
  return content


def _new_content(
  config, workdir, sources, teachers, measured: _Measurements, seconds: float
) -> dict[str, Any]:
  """Returns the results of this evaluation, with their provenance."""
  return {
    'config': result_content.portable_config(config),
    'commit': results_lib.commit(),
    'device': results_lib.device(),
    'versions': results_lib.versions(),
    'seed': config.seed,
    'selection': {
      'on': config.eval.select_on,
      'attack': config.eval.select_attack,
      'roles': sources,
    },
    'teachers': teachers,
    'roles': {
      role: accuracy.summary(correct)
      for role, correct in measured.outcomes.roles.items()
    },
    'transfer': accuracy.summary(measured.outcomes.transfer),
    'history': [r for r in metrics_log.read(workdir) if 'epoch' in r],
    'evaluation_seconds': round(seconds, 1),
  }
