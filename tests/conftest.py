"""Strict JAX for all tests: two virtual devices, ranks never promoted."""

import os

os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=2'
)
os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests compile much and compute little.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'

import jax  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
