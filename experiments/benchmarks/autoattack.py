"""Time of AutoAttack per point: ours, and the authors' PyTorch package.

python -m experiments.benchmarks.autoattack [--points=500] [--rounds=3]

Both attack the same network at the same points, in turns; needs
pip install -e '.[oracle]'. Results go to
experiments/results/benchmarks/autoattack.json.
"""

import json
import time

import jax
import numpy as np
from absl import app, flags

from experiments.benchmarks import result_files, timing, twins
from peeraid_jax import autoattack

_POINTS = flags.DEFINE_integer('points', 500, 'points that are attacked')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'pairs of runs')
_BATCH = flags.DEFINE_integer('batch_size', 500, 'of both')
_OUT = flags.DEFINE_string(
  'out', result_files.default('autoattack'), 'the result file'
)

NORM = 'Linf'
EPSILON = twins.EPSILON[NORM]
# Our name of an attack -> the package's.
ATTACKS = {
  'apgd_ce': 'apgd-ce',
  'apgd_t': 'apgd-t',
  'fab_t': 'fab-t',
  'square': 'square',
}


def _timed(run) -> tuple[float, float]:
  """Returns seconds and robust accuracy of a run."""
  start = time.perf_counter()
  accuracy = run()
  return time.perf_counter() - start, accuracy


def _ours(weights, images, labels):
  """Returns names of attacks, or None for the standard version -> accuracy."""
  logits_fn = jax.tree_util.Partial(twins.logits_fn, weights)

  def run(names):
    kwargs = {}
    if names:
      kwargs = {'version': 'custom', 'attacks': names, 'restarts': 1}
    return autoattack.run(
      logits_fn,
      images,
      labels,
      norm=NORM,
      epsilon=EPSILON,
      batch_size=_BATCH.value,
      **kwargs,
    ).robust_accuracy

  return run


def _theirs(weights, images, labels):
  """Returns the same function of names as `_ours`, with the package."""
  import pyautoattack
  import torch

  network = twins.in_torch(weights)
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  y = torch.from_numpy(labels.astype(np.int64))

  def run(names):
    kwargs = {'version': 'standard'}
    if names:
      kwargs = {'version': 'custom', 'attacks': [ATTACKS[n] for n in names]}
    attack = pyautoattack.AutoAttack(
      network, norm=NORM, eps=EPSILON, seed=0, **kwargs
    )
    if names:
      attack.apgd.n_restarts = 1
    adv, _ = attack.run_standard_evaluation(x, y, batch_size=_BATCH.value)
    with torch.no_grad():
      return float((network(adv).argmax(1) == y).float().mean())

  return run


def _compare(ours, theirs, names, points: int) -> dict:
  """Runs both in turns, after a first run of ours that compiles."""
  compiling_seconds, _ = _timed(lambda: ours(names))
  rounds = [
    (_timed(lambda: ours(names)), _timed(lambda: theirs(names)))
    for _ in range(_ROUNDS.value)
  ]
  our_seconds, their_seconds = (
    [pair[side][0] for pair in rounds] for side in (0, 1)
  )
  return {
    'ours_seconds_per_point': [s / points for s in our_seconds],
    'theirs_seconds_per_point': [s / points for s in their_seconds],
    'ours_first_run_with_compilation_seconds': compiling_seconds,
    'times_faster': timing.ratios(their_seconds, our_seconds),
    'ours_robust_accuracy': rounds[0][0][1],
    'theirs_robust_accuracy': rounds[0][1][1],
  }


def main(argv) -> None:
  """Measures each attack alone, then the standard version."""
  del argv
  import pyautoattack
  import torch

  weights = twins.trained()
  images, labels = twins.points(_POINTS.value)
  ours = _ours(weights, images, labels)
  theirs = _theirs(weights, images, labels)
  measured = {}
  for name, names in (
    *((name, (name,)) for name in ATTACKS),
    ('standard', None),
  ):
    measured[name] = _compare(ours, theirs, names, len(labels))
    print(name, json.dumps(measured[name]), flush=True)
  result_files.write(
    _OUT.value,
    {
      'what': 'AutoAttack, ours in JAX and pyautoattack in PyTorch',
      'network': 'experiments/benchmarks/twins.py, adversarially trained',
      'norm': NORM,
      'epsilon': EPSILON,
      'points': len(labels),
      'batch_size': _BATCH.value,
      'seed': 0,
      'torch_threads': torch.get_num_threads(),
      'measured': measured,
    },
    torch=torch.__version__,
    pyautoattack=pyautoattack.__version__,
  )


if __name__ == '__main__':
  app.run(main)
