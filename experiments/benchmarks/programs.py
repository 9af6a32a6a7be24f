"""The compiled step of a config, with random images, for benchmarks."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.benchmarks import flops
from peeraid_jax import build, parallel, step
from peeraid_jax.data import batches, facts


def config(
  network: str, width: int = 64, **choices
) -> ml_collections.ConfigDict:
  """Returns PeerAiD's config for CIFAR-10 with both networks alike."""
  from configs import cifar10

  made = cifar10.get_config(f'student={network},peer={network}')
  made.model.width = width
  made.update_from_flattened_dict(choices)
  return made


def abstract(made: ml_collections.ConfigDict, examples: int = 50_000):
  """Returns a step for one device, and shapes to compile it for.

  Args:
    made: the config of a run.
    examples: of the data set that lies on the device.
  """
  shape = facts.of(made.data).shape
  data = batches.Resident(
    jax.ShapeDtypeStruct((examples, *shape), jnp.uint8),
    jax.ShapeDtypeStruct((examples,), jnp.int32),
  )
  parts = made.train.microbatches
  each = (made.train.batch_size // parts,)
  row = jax.ShapeDtypeStruct(
    (1, *((parts,) if parts > 1 else ()), *each), jnp.int32
  )
  arguments = (
    jax.eval_shape(lambda: build.state(made)),
    batches.Rows(row, row),
    data,
    jax.eval_shape(lambda: jax.random.key(0)),
  )
  compiled = step.compile_train_step(
    build.train_step(made, 391), devices=jax.devices()[:1]
  )
  return compiled, arguments


def flops_per_image(made: ml_collections.ConfigDict) -> float:
  """Returns the work of a step, as `flops.count` counts, by one device."""
  function, arguments = abstract(made)
  return flops.count(function, *arguments) / made.train.batch_size


def concrete(made: ml_collections.ConfigDict):
  """Returns a step for all devices, and arguments with random images."""
  size = made.train.batch_size
  rng = np.random.default_rng(0)
  shape = facts.of(made.data).shape
  data = batches.Resident(
    rng.integers(0, 256, (size, *shape), dtype=np.uint8),
    rng.integers(0, 10, size).astype(np.int32),
  )
  rows = parallel.split(np.arange(size, dtype=np.int32))
  arguments = (
    parallel.replicate(build.state(made)),
    batches.Rows(rows, rows),
    parallel.replicate(data),
    jax.random.key(0),
  )
  return step.compile_train_step(build.train_step(made, 1)), arguments
