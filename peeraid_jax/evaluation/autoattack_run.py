"""AutoAttack on the networks of a run: progress, resumption, provenance."""

import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import tqdm

from peeraid_jax import autoattack
from peeraid_jax import nets as nets_lib
from peeraid_jax.runtime import interrupts, processes, progress

# Seconds between two lines of the same attack, without a terminal.
_SECONDS_BETWEEN_LINES = 30


class _ProgressBar:
  """Progress of one evaluation: a bar on a terminal, plain lines elsewhere.

  The bar counts forward and backward passes, because attacks differ in how
  many they need per point.

  Args:
    label: the network and attack under evaluation.
  """

  def __init__(self, label: str):
    self._label = label
    self._start_time, self._last_line_time = time.monotonic(), 0.0
    self._last_line_attack = ''
    self._passes_at_start: float | None = None
    self._bar = tqdm.tqdm(
      total=100,
      bar_format='{desc} {percentage:3.0f}%|{bar}| {postfix}',
      dynamic_ncols=True,
      disable=not sys.stdout.isatty(),
      file=sys.stdout,
    )

  def show(self, status: autoattack.Progress) -> None:
    """Shows the attack, its points, and an upper bound of the time left."""
    attack, stage, stages, done, total, passes_left = status
    if self._passes_at_start is None:
      self._passes_at_start = passes_left
    now = time.monotonic()
    passes_done = self._passes_at_start - passes_left
    time_left = ''
    if passes_done > 0:
      seconds = (now - self._start_time) * passes_left / passes_done
      time_left = f', at most {progress.clock(seconds)} left'
    points = f'{int(done)}/{total} points'
    part = f' {stage + 1}/{stages}' if stages > 1 else ''
    if not self._bar.disable:
      self._bar.set_description_str(f'{self._label}, {attack}{part}')
      self._bar.n = 100 * passes_done / max(self._passes_at_start, 1)
      self._bar.set_postfix_str(points + time_left)
    elif (
      attack != self._last_line_attack
      or now - self._last_line_time > _SECONDS_BETWEEN_LINES
    ):
      progress.say(f'{self._label}: {attack}{part}, {points}{time_left}')
      self._last_line_attack, self._last_line_time = attack, now

  def close(self) -> None:
    """Ends the bar; what it shows stays on the terminal."""
    self._bar.close()


def _state_path(
  workdir: pathlib.Path, role: str, name: str, identity: dict[str, Any]
) -> pathlib.Path:
  """Returns the file that saves the state of an unfinished evaluation.

  The name contains a digest of the network's checkpoint and all settings, so
  that another evaluation does not find this one's state.
  """
  digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
  return (
    workdir / 'autoattack' / f'{role}-{name}-{digest.hexdigest()[:12]}.json'
  )


def _merged(
  reports: list[dict[str, Any]], rows: list[list[int]]
) -> dict[str, Any]:
  """Merges the reports of several processes into that of all points.

  Args:
    reports: one per process, as JSON.
    rows: the rows of the data set that each process evaluated.
  """
  first = reports[0]
  outcome = np.empty(sum(map(len, rows)), object)
  for report, report_rows in zip(reports, rows, strict=True):
    outcome[report_rows] = report['outcome']
  robust = outcome == autoattack.ROBUST
  withstood = outcome != autoattack.MISCLASSIFIED
  accuracy_after = {}
  merged = {**first, 'accuracy_after': accuracy_after}
  merged['clean_accuracy'] = float(withstood.mean())
  for name in first['settings']['attacks']:
    # Attacks for which no point was left are not listed.
    if not withstood.any():
      break
    withstood = withstood & (outcome != name)
    accuracy_after[name] = float(withstood.mean())
  names, counts = np.unique(outcome.astype(str), return_counts=True)
  flags = [flag for report in reports for flag in report['flags'].items()]
  merged |= {
    'robust_accuracy': float(robust.mean()),
    'outcome': outcome.tolist(),
    'counts': dict(zip(names.tolist(), counts.tolist(), strict=True)),
    # Reversed, so that the first process explains a flag that several raise.
    'flags': dict(reversed(flags)),
    'seconds': max(report['seconds'] for report in reports),
  }
  return merged


def _settings(config, name: str) -> dict[str, Any]:
  """Returns the arguments of `autoattack.run` that define the attack."""
  if name == 'autoattack':
    attack: dict[str, Any] = {'version': config.eval.autoattack}
  else:
    attack = {'version': 'custom', 'attacks': (name,), 'restarts': 1}
  return attack | {
    'norm': config.attack.norm,
    'epsilon': config.attack.epsilon,
  }


def _logits_fns(config, net: nets_lib.Net) -> dict[str, Any]:
  """Returns the arguments of `autoattack.run` that are networks.

  If the run computes in bfloat16, the fast bfloat16 network searches for
  adversarial images and a float32 copy decides whether they are.
  """
  if config.dtype == 'float32':
    return {'logits_fn': nets_lib.logits_fn(net), 'search_logits_fn': None}
  return {
    'logits_fn': nets_lib.logits_fn(net, dtype=jnp.float32),
    'search_logits_fn': nets_lib.logits_fn(net),
  }


def _attack(
  config, workdir, role, net, name, data, subset, source, signals
) -> dict[str, Any]:
  """Runs one attack on one network; returns the report of all points."""
  settings = _settings(config, name)
  identity = {
    **settings,
    'source': source,
    'examples': len(data.labels),
    'seed': config.seed,
    'dtype': config.dtype,
  }
  if subset == 'stratified':
    # Not among the settings of earlier versions, whose states stay usable.
    identity['subset'] = subset
  own_rows = processes.mine(len(data.labels))
  own_points = data.take(own_rows)
  if jax.process_count() > 1:
    identity['part'] = [jax.process_index(), jax.process_count()]
  bar = _ProgressBar(f'{role} {name}')

  def tick(status):
    signals.check()
    bar.show(status)

  def attack_own():
    with interrupts.raising():
      # Decoding may take long.
      images = np.asarray(own_points.images)
    return autoattack.run(
      images=images,
      labels=own_points.labels,
      batch_size=config.eval.batch_size,
      key=jax.random.key(config.seed),
      state_path=_state_path(workdir, role, name, identity),
      tick=tick,
      **_logits_fns(config, net),
      **settings,
    )

  try:
    report = processes.together(attack_own)
  finally:
    bar.close()
  content = report.to_json()
  if jax.process_count() > 1:
    content = _merged(
      processes.gather(content), processes.gather(own_rows.tolist())
    )
  return content


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  nets: dict[str, nets_lib.Net],
  sources: dict[str, dict],
  data,
  subset: str,
  names: Sequence[str],
  signals: interrupts.Interrupts,
) -> Iterator[tuple[str, str, dict[str, Any], list[str]]]:
  """Runs AutoAttack, or single attacks of it, on the networks of a run.

  Each process attacks its part of the points. An evaluation that was stopped
  continues from its state in the folder `autoattack` of the work directory.

  Args:
    config: validated.
    workdir: work directory of the run.
    nets: role -> network.
    sources: role -> the checkpoint that the network comes from, as JSON.
    data: the `Dataset` of points, at least one for each process.
    subset: which part of the test set they are: 'all', 'first' or
      'stratified'.
    names: attacks to run, of `attacks.CASCADE`.
    signals: checked before every batch.

  Yields:
    (role, attack, report as JSON, outcome of each point), as soon as an attack
    on a network has ended.

  Raises:
    interrupts.Interrupted: a signal arrived; the state is saved.
  """
  for role, net in nets.items():
    for name in names:
      report = _attack(
        config, workdir, role, net, name, data, subset, sources[role], signals
      )
      outcome = report.pop('outcome')
      yield role, name, report, outcome
