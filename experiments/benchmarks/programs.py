"""PeerAiD's compiled step with random images, for benchmarks and guards."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.benchmarks import flops
from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build, step


def config(
  network: str, width: int = 64, **choices
) -> ml_collections.ConfigDict:
  """Returns PeerAiD's config for CIFAR-10.

  Args:
    network: architecture of both student and peer.
    width: their base width.
    **choices: field, such as 'train.batch_size' -> value.
  """
  from configs import cifar10

  config = cifar10.get_config(f'student={network},peer={network}')
  config.model.width = width
  config.update_from_flattened_dict(choices)
  return config


def abstract(config: ml_collections.ConfigDict, examples: int = 50_000):
  """Returns a step for one device, and the shapes of its arguments.

  Nothing is computed or allocated; it can be compiled and analysed.

  Args:
    config: a run's config.
    examples: size of the data set, which is stored on the device.
  """
  plan = build.plan(config, examples=examples)
  data = batches.Resident(
    jax.ShapeDtypeStruct((examples, *plan.image_shape), jnp.uint8),
    jax.ShapeDtypeStruct((examples,), jnp.int32),
  )
  parts = config.train.microbatches
  per_part = (config.train.batch_size // parts,)
  row = jax.ShapeDtypeStruct(
    (1, *((parts,) if parts > 1 else ()), *per_part), jnp.int32
  )
  arguments = (
    jax.eval_shape(lambda: build.initial_state(plan)),
    batches.Rows(row, row),
    data,
    jax.eval_shape(lambda: jax.random.key(0)),
  )
  mapped = step.map_train_step(
    build.train_step(plan), devices=jax.devices()[:1]
  )
  return mapped, arguments


def flops_per_image(config: ml_collections.ConfigDict) -> float:
  """Returns the FLOPs of a step per image, as `flops.count` counts them."""
  function, arguments = abstract(config)
  return flops.count(function, *arguments) / config.train.batch_size


def concrete(config: ml_collections.ConfigDict):
  """Returns a step for all devices, and arguments with random images."""
  size = config.train.batch_size
  plan = build.plan(config, examples=size)
  rng = np.random.default_rng(0)
  data = batches.Resident(
    rng.integers(0, 256, (size, *plan.image_shape), dtype=np.uint8),
    rng.integers(0, 10, size).astype(np.int32),
  )
  rows = parallel.split(np.arange(size, dtype=np.int32))
  arguments = (
    parallel.replicate(build.initial_state(plan)),
    batches.Rows(rows, rows),
    parallel.replicate(data),
    jax.random.key(0),
  )
  return step.map_train_step(build.train_step(plan)), arguments
