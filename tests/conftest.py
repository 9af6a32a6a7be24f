"""Strict JAX for all tests: two virtual devices, ranks never promoted."""

import importlib.metadata
import os

_FLAGS = ' --xla_force_host_platform_device_count=2'
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  # Compiles in two thirds of the time; XLA aborts on flags it does not know.
  _FLAGS += ' --xla_cpu_use_fusion_emitters=false'
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + _FLAGS
os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests compile much and compute little.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'

import jax  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
