"""The config of a run: its fields, config files, checks, and stored form.

A file of `configs/` starts from `base` and overrides. `fields` is the one
table of all fields. This package imports nothing heavy, so that `--help` and
mistyped flags are answered at once.
"""

from peeraid_jax.config.fields import OWN_ROLES
from peeraid_jax.config.resolve import (
  TEACHER_ROLES,
  Network,
  complete,
  eval_step_size,
  network,
  networks,
  normalization,
  roles,
  teacher_roles,
  temperature,
  trained_roles,
  width,
)
from peeraid_jax.config.stored import differences, from_json, to_json
from peeraid_jax.config.tree import (
  base,
  fields_of,
  flatten,
  load,
  lookup,
  set_decays,
  suggest,
)

__all__ = [
  'OWN_ROLES',
  'TEACHER_ROLES',
  'Network',
  'base',
  'complete',
  'differences',
  'eval_step_size',
  'fields_of',
  'flatten',
  'from_json',
  'load',
  'lookup',
  'network',
  'networks',
  'normalization',
  'roles',
  'set_decays',
  'suggest',
  'teacher_roles',
  'temperature',
  'to_json',
  'trained_roles',
  'width',
]
