"""Time of AutoAttack per point: ours, and the authors' PyTorch package.

python -m experiments.benchmarks.autoattack [--points=500] [--rounds=3]

Same network, same points, same machine, in turns; needs
pip install -e '.[oracle]'. What was measured goes to
experiments/results/benchmarks/autoattack.json.
"""

import json
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from experiments.benchmarks import filed, twins
from peeraid_jax import autoattack

_POINTS = flags.DEFINE_integer('points', 500, 'points that are attacked')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'pairs of runs')
_BATCH = flags.DEFINE_integer('batch_size', 500, 'of both')
_OUT = flags.DEFINE_string('out', filed.default('autoattack'), 'the result')

NORM = 'Linf'
ATTACKS = {
  'apgd_ce': 'apgd-ce',
  'apgd_t': 'apgd-t',
  'fab_t': 'fab-t',
  'square': 'square',
}


def _timed(run) -> tuple[float, float]:
  """Returns seconds and robust accuracy."""
  begun = time.perf_counter()
  accuracy = run()
  return time.perf_counter() - begun, accuracy


def main(argv) -> None:
  """Measures each attack alone, and the standard version."""
  del argv
  import pyautoattack
  import torch

  weights = twins.trained()
  images, labels = twins.points(_POINTS.value)
  logits_fn = jax.tree_util.Partial(twins.logits_fn, weights)
  twin = twins.in_torch(weights)
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  y = torch.from_numpy(labels.astype(np.int64))
  epsilon = twins.EPSILON[NORM]

  def ours(names):
    kwargs = {}
    if names:
      kwargs = {'version': 'custom', 'attacks': names, 'restarts': 1}
    return autoattack.run(
      logits_fn,
      images,
      labels,
      norm=NORM,
      epsilon=epsilon,
      batch_size=_BATCH.value,
      **kwargs,
    ).robust_accuracy

  def theirs(names):
    kwargs = {'version': 'standard'}
    if names:
      kwargs = {'version': 'custom', 'attacks': [ATTACKS[n] for n in names]}
    made = pyautoattack.AutoAttack(
      twin, norm=NORM, eps=epsilon, seed=0, **kwargs
    )
    if names:
      made.apgd.n_restarts = 1
    adv, _ = made.run_standard_evaluation(x, y, batch_size=_BATCH.value)
    with torch.no_grad():
      return float((twin(adv).argmax(1) == y).float().mean())

  measured = {}
  for name, names in (
    *((name, (name,)) for name in ATTACKS),
    ('standard', None),
  ):
    compiling, _ = _timed(lambda names=names: ours(names))
    rounds = []
    for _ in range(_ROUNDS.value):
      rounds.append(
        (
          _timed(lambda names=names: ours(names)),
          _timed(lambda names=names: theirs(names)),
        )
      )
    ratios = [t[0] / o[0] for o, t in rounds]
    measured[name] = {
      'ours_seconds_per_point': [o[0] / len(labels) for o, _ in rounds],
      'theirs_seconds_per_point': [t[0] / len(labels) for _, t in rounds],
      'ours_first_run_with_compilation_seconds': compiling,
      'times_faster': {
        'median': statistics.median(ratios),
        'min': min(ratios),
        'max': max(ratios),
      },
      'ours_robust_accuracy': rounds[0][0][1],
      'theirs_robust_accuracy': rounds[0][1][1],
    }
    print(name, json.dumps(measured[name]), flush=True)
  filed.write(
    _OUT.value,
    {
      'what': 'AutoAttack, ours in JAX and pyautoattack in PyTorch',
      'network': 'experiments/benchmarks/twins.py, adversarially trained',
      'norm': NORM,
      'epsilon': epsilon,
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
