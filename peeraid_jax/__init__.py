"""PeerAiD in JAX: image classifiers that withstand adversarial attack.

Sub-modules load on first use (`peeraid_jax.models.create(...)`), so that
importing the package, asking for help or mistyping a flag costs no seconds.
"""

import importlib

__version__ = '0.1.0'

_MODULES = (
  'attacks',
  'autoattack',
  'checkpoint',
  'config',
  'data',
  'evaluate',
  'losses',
  'methods',
  'models',
  'nets',
  'obfuscation',
  'optim',
  'parallel',
  'step',
  'swa',
  'train',
)


def __getattr__(name: str):
  if name in _MODULES:
    return importlib.import_module(f'{__name__}.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
  return [*globals(), *_MODULES]
