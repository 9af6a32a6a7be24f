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

import jax
import jax.numpy as jnp
from absl import app, flags

from experiments.benchmarks import flops
from peeraid_jax import build, step
from peeraid_jax import results as results_lib
from peeraid_jax.data import batches

_BATCH = flags.DEFINE_integer('batch_size', 128, 'images of a step')
_ONLY = flags.DEFINE_string('only', '', 'settings that match')
_DTYPE = flags.DEFINE_string('dtype', 'float32', "or 'bfloat16'")
_RESULT = pathlib.Path(__file__).parents[1] / 'results/benchmarks'
_OUT = flags.DEFINE_string('out', str(_RESULT / 'memory.json'), 'the result')

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
  from configs import cifar10

  config = cifar10.get_config(f'student={name},peer={name}')
  config.model.remat = remat
  config.train.microbatches = microbatches
  config.train.batch_size = _BATCH.value
  config.dtype = _DTYPE.value
  state = jax.eval_shape(lambda: build.state(config))
  data = batches.Resident(
    jax.ShapeDtypeStruct((50_000, 32, 32, 3), jnp.uint8),
    jax.ShapeDtypeStruct((50_000,), jnp.int32),
  )
  shape = (_BATCH.value // microbatches,)
  if microbatches > 1:
    shape = (microbatches, *shape)
  row = jax.ShapeDtypeStruct((1, *shape), jnp.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  devices = jax.devices()[:1]
  made = step.compile_train_step(build.train_step(config, 391), devices=devices)
  arguments = (state, batches.Rows(row, row), data, key)
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
    'flops_per_image': flops.count(made, *arguments) / _BATCH.value,
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
    out.parent.mkdir(parents=True, exist_ok=True)
    results_lib.write(
      out,
      {
        'what': "memory of PeerAiD's compiled step; nothing was run",
        'device': results_lib.device(),
        'versions': results_lib.versions(),
        'measured': found,
      },
    )


if __name__ == '__main__':
  app.run(main)
