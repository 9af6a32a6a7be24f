"""Convolutions on a CPU: XLA's stock ones, and the forms of `cpu_conv`.

python -m experiments.benchmarks.convolutions

Measures forward pass, gradient of the images and gradient of the kernel for
layers of a ResNet-18. Both kinds take turns on one core, because each virtual
device of a CPU has one. Results go to
experiments/results/benchmarks/convolutions.json.
"""

import os
import statistics
import time

import jax
from absl import app, flags

from experiments.benchmarks import result_files, timing
from peeraid_jax.models import cpu_conv

_ROUNDS = flags.DEFINE_integer('rounds', 15, 'measurements of each')
_OUT = flags.DEFINE_string(
  'out', result_files.default('convolutions'), 'the result file'
)

# batch, height and width, channels in, channels out, kernel size, stride
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
  """Returns the compiled passes of a convolution.

  Args:
    function: `cpu_conv.stock` or `cpu_conv.conv`.
    stride: stride of the convolution.
    size: height and width of the kernel.

  Returns:
    Name of the pass -> (images, kernel, gradient of the output) -> array.
  """
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
  """Measures a layer; returns name of a pass -> seconds and their ratio."""
  keys = jax.random.split(jax.random.key(0), 3)
  out = side // stride
  arguments = (
    jax.random.normal(keys[0], (batch, side, side, inputs)),
    jax.random.normal(keys[1], (size, size, inputs, outputs)),
    jax.random.normal(keys[2], (batch, out, out, outputs)),
  )
  kinds = {
    'stock': passes(cpu_conv.stock, stride, size),
    'ours': passes(cpu_conv.conv, stride, size),
  }
  measured = {}
  for name in kinds['ours']:
    seconds = {kind: [] for kind in kinds}
    # Compiles both before the first measurement.
    for compiled in kinds.values():
      jax.block_until_ready(compiled[name](*arguments))
    for _ in range(_ROUNDS.value):
      for kind, compiled in kinds.items():
        start = time.perf_counter()
        jax.block_until_ready(compiled[name](*arguments))
        seconds[kind].append(time.perf_counter() - start)
    measured[name] = {
      'stock_seconds': statistics.median(seconds['stock']),
      'ours_seconds': statistics.median(seconds['ours']),
      'ours_is_times_faster': timing.ratios(seconds['stock'], seconds['ours']),
    }
  return measured


def main(argv) -> None:
  """Measures all layers on one core and writes the result file."""
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
  result_files.write(
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
