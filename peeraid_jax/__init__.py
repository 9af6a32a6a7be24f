"""PeerAiD in JAX: image classifiers that withstand adversarial attack.

Sub-modules load on first use (`peeraid_jax.models.create(...)`), so that
importing the package, asking for help or mistyping a flag stays fast.
"""

import importlib

__version__ = '0.1.0'

# Name that users write -> module. The short names of modules that live in a
# folder are part of the public interface.
_MODULES = {
  'attacks': 'attacks',
  'autoattack': 'autoattack',
  'checkpoint': 'training.checkpoint',
  'config': 'config',
  'data': 'data',
  'evaluation': 'evaluation',
  'losses': 'losses',
  'methods': 'methods',
  'models': 'models',
  'nets': 'nets',
  'optimizers': 'training.optimizers',
  'parallel': 'runtime.parallel',
  'recipes': 'config.recipes',
  'runtime': 'runtime',
  'schedules': 'training.schedules',
  'torch_io': 'torch_io',
  'training': 'training',
}


def __getattr__(name: str):
  if name in _MODULES:
    return importlib.import_module(f'{__name__}.{_MODULES[name]}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
  return [*globals(), *_MODULES]
