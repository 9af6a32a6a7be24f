"""Memory and FLOPs of PeerAiD's step on large networks, by compiling it.

python -m experiments.benchmarks.memory [--batch_size=128] [--only=REGEX]

Compiles the step for one device and runs nothing. The memory is what XLA's
buffer assignment plans; the FLOPs are counted in the program. Results go to
experiments/results/benchmarks/memory.json, one entry per setting; settings
that have an entry already are skipped.
"""

import json
import re
import time

from absl import app, flags

from experiments.benchmarks import programs, result_files
from peeraid_jax.runtime import results

_BATCH = flags.DEFINE_integer('batch_size', 128, 'images of a step')
_ONLY = flags.DEFINE_string('only', '', 'measure settings that match this')
_DTYPE = flags.DEFINE_string('dtype', 'float32', "or 'bfloat16'")
_OUT = flags.DEFINE_string(
  'out', result_files.default('memory'), 'the result file'
)

# (network, microbatches, rematerialisation)
SETTINGS = (
  ('resnet18', 1, False),
  ('resnet18', 1, True),
  ('wideresnet34x10', 1, False),
  ('wideresnet34x10', 1, True),
  ('wideresnet34x10', 4, False),
  ('wideresnet34x10', 4, True),
  ('wideresnet70x16', 1, False),
  ('wideresnet70x16', 1, True),
  ('wideresnet70x16', 8, True),
)

# The data set is an argument of the step, but not part of the state.
_DATA_BYTES = 50_000 * (32 * 32 * 3 + 4)


def measure(network: str, microbatches: int, remat: bool) -> dict:
  """Compiles one step; returns its memory in bytes, and its FLOPs."""
  config = programs.config(
    network,
    **{
      'model.remat': remat,
      'train.microbatches': microbatches,
      'train.batch_size': _BATCH.value,
      'dtype': _DTYPE.value,
    },
  )
  step, arguments = programs.abstract(config)
  start = time.perf_counter()
  compiled = step.lower(*arguments).compile()
  seconds = time.perf_counter() - start
  memory = compiled.memory_analysis()
  return {
    'network': network,
    'batch_size': _BATCH.value,
    'microbatches': microbatches,
    'remat': remat,
    'dtype': config.dtype,
    'state_bytes': memory.argument_size_in_bytes - _DATA_BYTES,
    'temporary_bytes': memory.temp_size_in_bytes,
    'flops_per_image': programs.flops_per_image(config),
    'compile_seconds': seconds,
  }


def main(argv) -> None:
  """Measures the settings that are not in the result file yet."""
  del argv
  measured = result_files.read(_OUT.value)
  for network, microbatches, remat in SETTINGS:
    label = f'{network}, {_BATCH.value} images, {_DTYPE.value}'
    label += f', {microbatches} microbatches' if microbatches > 1 else ''
    label += ', remat' if remat else ''
    if label in measured or not re.search(_ONLY.value, label):
      continue
    measured[label] = measure(network, microbatches, remat) | {
      'commit': results.commit()
    }
    print(label, json.dumps(measured[label]), flush=True)
    result_files.write(
      _OUT.value,
      {
        'what': "memory of PeerAiD's compiled step; nothing was run",
        'measured': measured,
      },
    )


if __name__ == '__main__':
  app.run(main)
