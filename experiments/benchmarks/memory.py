"""Memory and work of PeerAiD's step on large networks, by compiling it.

python -m experiments.benchmarks.memory [--batch_size=128] [--only=REGEX]

Compiles the step for one device and runs nothing: XLA's buffer assignment
says how much memory it needs at once, the program how many FLOPs it has. What
was found goes to experiments/results/benchmarks/memory.json, one entry per
setting; those that are there are kept.
"""

import json
import pathlib
import re
import time

from absl import app, flags

from experiments.benchmarks import filed, programs
from peeraid_jax import results as results_lib

_BATCH = flags.DEFINE_integer('batch_size', 128, 'images of a step')
_ONLY = flags.DEFINE_string('only', '', 'settings that match')
_DTYPE = flags.DEFINE_string('dtype', 'float32', "or 'bfloat16'")
_OUT = flags.DEFINE_string('out', filed.default('memory'), 'the result')

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


def measure(name: str, microbatches: int, remat: bool) -> dict:
  """Returns what the compiler says of one step, in bytes and FLOPs."""
  config = programs.config(
    name,
    **{
      'model.remat': remat,
      'train.microbatches': microbatches,
      'train.batch_size': _BATCH.value,
      'dtype': _DTYPE.value,
    },
  )
  made, arguments = programs.abstract(config)
  begun = time.perf_counter()
  compiled = made.lower(*arguments).compile()
  seconds = time.perf_counter() - begun
  memory = compiled.memory_analysis()
  return {
    'network': name,
    'batch_size': _BATCH.value,
    'microbatches': microbatches,
    'remat': remat,
    'dtype': config.dtype,
    'state_bytes': memory.argument_size_in_bytes - 50_000 * (32 * 32 * 3 + 4),
    'temporary_bytes': memory.temp_size_in_bytes,
    'flops_per_image': programs.flops_per_image(config),
    'compile_seconds': seconds,
  }


def main(argv) -> None:
  """Measures what is not in the result yet."""
  del argv
  out = pathlib.Path(_OUT.value)
  found = json.loads(out.read_text())['measured'] if out.exists() else {}
  for name, microbatches, remat in SETTINGS:
    label = f'{name}, {_BATCH.value} images, {_DTYPE.value}'
    label += f', {microbatches} microbatches' if microbatches > 1 else ''
    label += ', remat' if remat else ''
    if label in found or not re.search(_ONLY.value, label):
      continue
    found[label] = measure(name, microbatches, remat) | {
      'commit': results_lib.commit()
    }
    print(label, json.dumps(found[label]), flush=True)
    filed.write(
      _OUT.value,
      {
        'what': "memory of PeerAiD's compiled step; nothing was run",
        'measured': found,
      },
    )


if __name__ == '__main__':
  app.run(main)
