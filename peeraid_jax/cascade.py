"""AutoAttack on the networks of a run: progress, resumption, provenance."""

import hashlib
import json
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import tqdm

from peeraid_jax import autoattack, interrupts, metrics, processes
from peeraid_jax import nets as nets_lib
from peeraid_jax import results as results_lib

# Seconds between two lines where there is no terminal.
_QUIET = 30


class _Bar:
  """A bar over points and attacks; plain lines without a terminal.

  Args:
    label: what is evaluated.
  """

  def __init__(self, label: str):
    self._label = label
    self._begun, self._told = time.monotonic(), 0.0
    self._attack, self._at_first = '', None
    self._bar = tqdm.tqdm(
      total=100,
      bar_format='{desc} {percentage:3.0f}%|{bar}| {postfix}',
      dynamic_ncols=True,
      disable=not sys.stdout.isatty(),
      file=sys.stdout,
    )

  def show(self, progress: autoattack.Progress) -> None:
    """Tells how far an evaluation is, and how long it takes at most."""
    attack, stage, stages, done, total, left = progress
    if self._at_first is None:
      self._at_first = left
    now = time.monotonic()
    finished = self._at_first - left
    time_left = ''
    if finished > 0:
      seconds = (now - self._begun) * left / finished
      time_left = f', at most {metrics.clock(seconds)} left'
    text = f'{int(done)}/{total} points'
    part = f' {stage + 1}/{stages}' if stages > 1 else ''
    if not self._bar.disable:
      self._bar.set_description_str(f'{self._label}, {attack}{part}')
      self._bar.n = 100 * finished / max(self._at_first, 1)
      self._bar.set_postfix_str(text + time_left)
    elif attack != self._attack or now - self._told > _QUIET:
      metrics.say(f'{self._label}: {attack}{part}, {text}{time_left}')
      self._attack, self._told = attack, now

  def close(self) -> None:
    """Leaves the bar where it is."""
    self._bar.close()


def _state_path(workdir: pathlib.Path, role: str, name: str, of: dict):
  """A file per network and settings, so that others do not meet in it."""
  digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode())
  return (
    workdir / 'autoattack' / f'{role}-{name}-{digest.hexdigest()[:12]}.json'
  )


def _merged(parts: list[dict[str, Any]], rows: list[list[int]]) -> dict:
  """Joins the reports of the processes, each on rows of its own."""
  first = parts[0]
  outcome = np.empty(sum(map(len, rows)), object)
  for part, own in zip(parts, rows, strict=True):
    outcome[own] = part['outcome']
  robust = outcome == autoattack.ROBUST
  after = {}
  withstood = outcome != autoattack.MISCLASSIFIED
  merged = {**first, 'accuracy_after': after}
  merged['clean_accuracy'] = float(withstood.mean())
  for name in first['settings']['attacks']:
    if not withstood.any():
      break
    withstood = withstood & (outcome != name)
    after[name] = float(withstood.mean())
  names, counts = np.unique(outcome.astype(str), return_counts=True)
  flags = [flag for part in parts for flag in part['flags'].items()]
  merged |= {
    'robust_accuracy': float(robust.mean()),
    'outcome': outcome.tolist(),
    'counts': dict(zip(names.tolist(), counts.tolist(), strict=True)),
    'flags': dict(reversed(flags)),
    'seconds': max(part['seconds'] for part in parts),
  }
  return merged


def evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  nets: dict[str, nets_lib.Net],
  sources: dict[str, dict],
  data,
  names,
  signals: interrupts.Interrupts,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, list[str]]]]:
  """Runs AutoAttack, or parts of it, on the networks of a run.

  Each process attacks its part of the points.

  Args:
    config: validated.
    workdir: of the run; what was done so far is in its folder 'autoattack'.
    nets: role -> network.
    sources: role -> the checkpoint it comes from, as JSON.
    data: the `Dataset` of points.
    names: of `attacks.CASCADE`.
    signals: looked at before every batch.

  Returns:
    (role -> name -> the report as JSON, with provenance; role -> name -> the
    outcome of each point).

  Raises:
    ValueError: fewer points than processes.
  """
  told, outcomes = {}, {}
  rows = processes.mine(len(data.labels))
  part = data.take(rows)
  if names and len(data.labels) < jax.process_count():
    raise ValueError(
      f'config.eval.examples={len(data.labels)} should be at least the number '
      f'of processes, {jax.process_count()}'
    )
  for role, net in nets.items():
    reference, search = nets_lib.logits_fn(net), None
    if config.dtype != 'float32':
      # The fast network searches, a float32 copy of it decides.
      reference = nets_lib.logits_fn(net, dtype=jnp.float32)
      search = nets_lib.logits_fn(net)
    for name in names:
      settings: dict[str, Any] = {'version': config.eval.autoattack}
      if name != 'autoattack':
        settings = {'version': 'custom', 'attacks': (name,), 'restarts': 1}
      settings |= {'norm': config.attack.norm, 'epsilon': config.attack.epsilon}
      of = {
        **settings,
        'source': sources[role],
        'examples': len(data.labels),
        'seed': config.seed,
        'dtype': config.dtype,
      }
      if jax.process_count() > 1:
        of['part'] = [jax.process_index(), jax.process_count()]
      bar = _Bar(f'{role} {name}')

      def tick(progress, bar=bar):
        signals.check()
        bar.show(progress)

      try:
        report = autoattack.run(
          reference,
          np.asarray(part.images),
          part.labels,
          batch_size=config.eval.batch_size,
          key=jax.random.key(config.seed),
          state_path=_state_path(workdir, role, name, of),
          search_logits_fn=search,
          tick=tick,
          **settings,
        )
      finally:
        bar.close()
      content = report.to_json()
      if jax.process_count() > 1:
        content = _merged(
          processes.gather(content), processes.gather(rows.tolist())
        )
      # Of each point, in the file of outcomes.
      outcomes.setdefault(role, {})[name] = content.pop('outcome')
      told.setdefault(role, {})[name] = {
        **content,
        'n': len(data.labels),
        'source': sources[role],
        'commit': results_lib.commit(),
        'device': results_lib.device(),
        'versions': results_lib.versions(),
      }
  return told, outcomes
