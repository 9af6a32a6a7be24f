"""Attacks the networks of a run, one attack at a time, as its config requests.

Each function yields a measurement as soon as it is finished, so that the caller
can store it before the next one begins.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from peeraid_jax import autoattack
from peeraid_jax.config import dataset
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.evaluation import (
  accuracy,
  autoattack_run,
  entries,
  obfuscation,
  selection,
  subjects,
)
from peeraid_jax.runtime import interrupts, progress


class Finished(NamedTuple):
  """A finished measurement.

  Attributes:
    entry: of results.json.
    outcomes: name -> outcome of each example, for outcomes.npz.
  """

  entry: entries.Entry
  outcomes: dict[str, np.ndarray]


def _transfers(
  subject: subjects.Subject, asked: subjects.Request
) -> list[accuracy.Transfer]:
  """Returns the transfers to measure, without duplicates.

  These are the student's images for each plain attack, and on request those
  of every network against every other one, by PGD-20. A teacher only
  classifies images of others; it is not attacked.
  """
  nets = subject.nets
  transfers = selection.transfers(nets, asked.plain)
  if asked.all_transfers:
    sources = list(selection.own_nets(nets))
    transfers += [
      accuracy.Transfer(target, source, 'pgd20')
      for source in sources
      for target in (*sources, *({'teacher'} & set(nets)))
      if target != source
    ]
  return list(dict.fromkeys(transfers))


def _plain(
  subject: subjects.Subject, asked: subjects.Request, evaluate, tick
) -> Iterator[Finished]:
  """Measures accuracies under plain attacks, and those of transfers."""
  transfers = _transfers(subject, asked)
  own = [(role, name) for role in subject.evaluated for name in asked.plain]
  only_for_transfer = {(t.source, t.attack) for t in transfers} - set(own)
  for role, name in (*own, *sorted(only_for_transfer)):
    settings = entries.settings(name, subject.threat)
    outcomes = evaluate(
      subject.nets,
      subject.data,
      {role: (name,)} if (role, name) in own else {},
      [t for t in transfers if (t.source, t.attack) == (role, name)],
      tick,
    )
    for by_attack in outcomes.roles.values():
      correct = by_attack[name]
      result = {'accuracy': float(np.mean(correct))}
      yield Finished(
        subject.entry('attack', role, name, result, settings),
        {f'{role}/{name}': correct},
      )
    for transfer, correct in outcomes.transfer.items():
      target = transfer.partition('_on_')[0]
      result = {'accuracy': float(np.mean(correct))}
      yield Finished(
        subject.entry(
          'transfer', target, transfer, result, settings, others=(role,)
        ),
        {transfer: correct},
      )


def _corrupted(
  subject: subjects.Subject,
  corruptions: corruptions_lib.Folder,
  evaluate,
  check,
) -> Iterator[Finished]:
  """Measures clean accuracy on corrupted images, of all severities.

  Each corruption is measured on the part of its images that `eval.subset` and
  `eval.examples` choose.
  """
  each: dict[str, dict[str, list[float]]] = {r: {} for r in subject.evaluated}
  attacks = dict.fromkeys(subject.evaluated, ('clean',))
  images = (0, 'all')
  for name, severity, data in corruptions.read():
    progress.say(f'{name}, severity {severity}')
    asked = subject.config.eval
    rows, subset = dataset.chosen(data.labels, asked.examples, asked.subset)
    part = data.take(rows)
    images = (len(part.labels), subset)
    outcomes = evaluate(subject.evaluated, part, attacks, (), check)
    for role, by_attack in outcomes.roles.items():
      by_severity = each[role].setdefault(name, [])
      by_severity.append(float(by_attack['clean'].mean()))
  for role, accuracies in each.items():
    result = {'mean': float(np.mean(list(accuracies.values())))}
    result |= {'each': accuracies}
    settings = {'names': list(accuracies)}
    entry = subject.entry(
      'corruptions', role, 'corruptions', result, settings, images=images
    )
    yield Finished(entry, {})


def _checked(
  subject: subjects.Subject, robust: dict[str, dict[str, float]], tick
) -> Iterator[Finished]:
  """Makes the checks for masked gradients.

  Args:
    subject: what is evaluated.
    robust: role -> accuracies under the attacks that are not measured here.
    tick: as of an evaluator.
  """
  radii = {k: v for k, v in subject.threat.items() if k != 'restarts'}
  measured = obfuscation.measure(
    subject.nets,
    subject.data,
    roles=tuple(subject.evaluated),
    batch_size=subject.config.eval.batch_size,
    seed=subject.config.seed,
    tick=tick,
    **radii,
  )
  for role, accuracies in measured.items():
    entry = subject.entry(
      'obfuscation',
      role,
      'obfuscation',
      obfuscation.judge(accuracies, **robust[role]),
      radii,
      others=tuple(subject.nets),
    )
    yield Finished(entry, {})


def measure(
  subject: subjects.Subject, signals: interrupts.Interrupts
) -> Iterator[Finished]:
  """Attacks the networks of a run as its config requests.

  Args:
    subject: what is evaluated.
    signals: checked before every batch.

  Raises:
    interrupts.Interrupted: a signal arrived.
  """
  asked, config = subjects.request(subject.config), subject.config

  def tick(role, name, done, total):
    signals.check()
    if not done:
      progress.say(f'evaluating {role}: {name} on {total} images')

  evaluate: Callable = selection.evaluator(
    config, restarts=config.eval.restarts
  )
  yield from _plain(subject, asked, evaluate, tick)
  if subject.corruptions is not None:
    yield from _corrupted(
      subject, subject.corruptions, evaluate, lambda *_: signals.check()
    )
  robust: dict[str, dict[str, float]] = {}
  for role, name, report, outcome in autoattack_run.evaluate(
    config,
    subject.workdir,
    subject.evaluated,
    subject.sources,
    subject.data,
    subject.subset,
    asked.autoattack,
    signals,
  ):
    robust.setdefault(role, {})[name] = report['robust_accuracy']
    settings = entries.autoattack_settings(report)
    points = np.array(outcome)
    yield Finished(
      subject.entry('autoattack', role, name, report, settings),
      {
        f'{role}/{name}': points == autoattack.ROBUST,
        f'{role}/{name}_outcome': points,
      },
    )
  if asked.obfuscation:
    compared = {
      role: {name: found[name] for name in subjects.OBFUSCATION_ATTACKS}
      for role, found in robust.items()
    }
    yield from _checked(subject, compared, tick)
