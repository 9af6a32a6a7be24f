"""What this machine's device is, and how fast it multiplies matrices."""

import time


def matrix_rate(dtype: str) -> float:
  """Returns the FLOP/s of large matrix products: the most one can expect."""
  import jax
  import jax.numpy as jnp

  on_cpu = jax.default_backend() == 'cpu'
  size = 2048 if on_cpu else 8192
  a = jnp.ones((size, size), dtype)
  product = jax.jit(lambda a: a @ a)
  product(a).block_until_ready()
  best = float('inf')
  for _ in range(10):
    start = time.perf_counter()
    product(a).block_until_ready()
    best = min(best, time.perf_counter() - start)
  return 2 * size**3 / best


def kind() -> str:
  """Returns the kind of device that JAX uses, such as 'cpu'."""
  import jax

  return jax.devices()[0].device_kind


def on_gpu() -> bool:
  """Returns whether JAX computes on a GPU."""
  import jax

  return jax.default_backend() == 'gpu'
