"""Convolutions on a CPU: the stock ones, and the forms of `cpu_conv`.

python -m experiments.benchmarks.convolutions

Forward, gradient of the images and gradient of the kernel of layers that a
ResNet-18 has, in turns, by one core, as each of a CPU's virtual devices has
one. What was measured goes to experiments/results/benchmarks/convolutions.json.
"""

import os
import statistics
import time

import jax
from absl import app, flags

from experiments.benchmarks import filed
from peeraid_jax.models import cpu_conv

_ROUNDS = flags.DEFINE_integer('rounds', 15, 'of each')
_OUT = flags.DEFINE_string('out', filed.default('convolutions'), 'the result')

# batch, height and width, channels in, out, kernel, stride
LAYERS = (
  (32, 32, 3, 16, 3, 1),
  (32, 32, 16, 16, 3, 1),
  (32, 32, 16, 32, 3, 2),
  (32, 32, 16, 32, 1, 2),
  (32, 16, 32, 32, 3, 1),
  (32, 8, 64, 64, 3, 1),
  (32, 4, 128, 128, 3, 1),
  (32, 32, 64, 64, 3, 1),
  (32, 16, 128, 128, 3, 1),
  (32, 8, 256, 256, 3, 1),
  (32, 4, 512, 512, 3, 1),
)


def passes(function, stride: int, size: int):
  """Returns name -> compiled (images, kernel, gradient) -> array."""
  pad = size // 2
  settings = (stride, stride), ((pad, pad), (pad, pad)), 1
  apply = lambda x, k: function(x, k, *settings)
  return {
    'forward': jax.jit(lambda x, k, g: apply(x, k)),
    'images': jax.jit(
      lambda x, k, g: jax.vjp(lambda x: apply(x, k), x)[1](g)[0]
    ),
    'kernel': jax.jit(
      lambda x, k, g: jax.vjp(lambda k: apply(x, k), k)[1](g)[0]
    ),
  }


def measure(batch, side, inputs, outputs, size, stride) -> dict:
  """Returns pass -> seconds of both and how much faster ours is."""
  keys = jax.random.split(jax.random.key(0), 3)
  out = side // stride
  arguments = (
    jax.random.normal(keys[0], (batch, side, side, inputs)),
    jax.random.normal(keys[1], (size, size, inputs, outputs)),
    jax.random.normal(keys[2], (batch, out, out, outputs)),
  )
  both = {
    'stock': passes(cpu_conv.stock, stride, size),
    'ours': passes(cpu_conv.conv, stride, size),
  }
  found = {}
  for name in both['ours']:
    seconds = {kind: [] for kind in both}
    for made in both.values():
      jax.block_until_ready(made[name](*arguments))
    for _ in range(_ROUNDS.value):
      for kind, made in both.items():
        begun = time.perf_counter()
        jax.block_until_ready(made[name](*arguments))
        seconds[kind].append(time.perf_counter() - begun)
    ratios = [
      s / o for s, o in zip(seconds['stock'], seconds['ours'], strict=True)
    ]
    found[name] = {
      'stock_seconds': statistics.median(seconds['stock']),
      'ours_seconds': statistics.median(seconds['ours']),
      'ours_is_times_faster': {
        'median': statistics.median(ratios),
        'min': min(ratios),
        'max': max(ratios),
      },
    }
  return found


def main(argv) -> None:
  """Measures, prints and files."""
  del argv
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  measured = {}
  for layer in LAYERS:
    batch, side, inputs, outputs, size, stride = layer
    label = f'{side}x{side}, {inputs} to {outputs}, {size}x{size}'
    label += f', stride {stride}' if stride > 1 else ''
    measured[label] = measure(*layer)
    print(label, measured[label], flush=True)
  filed.write(
    _OUT.value,
    {
      'what': 'convolutions by one core, outside of loops',
      'batch_size': LAYERS[0][0],
      'rounds': _ROUNDS.value,
      'measured': measured,
    },
  )


if __name__ == '__main__':
  app.run(main)
