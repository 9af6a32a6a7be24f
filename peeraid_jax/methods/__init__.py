"""Methods by name: each is one file with a factory and its facts.

A factory takes `maximise` and its hyperparameters as keyword arguments; the
config's `method.kwargs` are exactly those. In a notebook or at the top of a
config file, `register` adds a method of one's own:

    methods.register('mine', factory, methods.Facts(teachers={...}))
"""

import importlib
import inspect
from typing import Any

from peeraid_jax import registry
from peeraid_jax.methods.base import Entry, Facts, Method, Recipe, accuracy

__all__ = [
  'METHODS',
  'Facts',
  'Method',
  'Recipe',
  'accuracy',
  'create',
  'defaults',
  'facts',
  'register',
]

# name -> `Entry`
METHODS: registry.Registry[Entry] = registry.Registry('method')


def register(
  name: str, factory, facts: Facts | None = None, *, replace: bool = False
) -> None:
  """Adds a method.

  Args:
    name: what configs call it.
    factory: (maximise, **hyperparameters) -> `Method`; its hyperparameters
      are keyword-only and have defaults.
    facts: its teachers, partners, recipe; by default it trains the student
      alone.
    replace: allow a name that is taken.

  Raises:
    ValueError: the name is taken; or the factory has a hyperparameter that is
      not keyword-only, or has no default.
  """
  parameters = list(inspect.signature(factory).parameters.values())[1:]
  for parameter in parameters:
    if parameter.kind is not parameter.KEYWORD_ONLY or (
      parameter.default is parameter.empty
    ):
      raise ValueError(
        f'method {name!r}: the hyperparameter {parameter.name!r} should be '
        'keyword-only and have a default: (maximise, *, name=value)'
      )
  METHODS.register(name, Entry(factory, facts or Facts()), replace=replace)


# The files of this folder, in the order of the tables. Each has a factory of
# its own name, and `FACTS`.
for _name in (
  'natural',
  'pgd_at',
  'trades',
  'mart',
  'ard',
  'rslad',
  'akd2',
  'iad1',
  'iad2',
  'adaad',
  'adaiad',
  'ltd',
  'agkd_bml',
  'peeraid',
):
  _module = importlib.import_module(f'{__name__}.{_name}')
  register(_name, getattr(_module, _name), _module.FACTS)


def facts(name: str) -> Facts:
  """Returns what configs need to know about a method.

  Raises:
    ValueError: no method of that name; the known ones are listed.
  """
  return METHODS.get(name).facts


def defaults(name: str) -> dict[str, Any]:
  """Returns a method's hyperparameters with their defaults."""
  factory = METHODS.get(name).factory
  parameters = inspect.signature(factory).parameters.values()
  return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def create(name: str, maximise, **hyperparameters) -> Method:
  """Builds a method.

  Args:
    name: a key of `METHODS`.
    maximise: (objective, images, keys) -> adversarial images; see
      `attacks.maximise`.
    **hyperparameters: of the method's factory.

  Raises:
    ValueError: unknown method or hyperparameter.
  """
  known = defaults(name)
  unknown = set(hyperparameters) - set(known)
  if unknown:
    raise ValueError(
      f'method.kwargs of {name}: {sorted(unknown)} unknown; known: '
      f'{", ".join(known) or "none"}'
    )
  return METHODS.get(name).factory(maximise, **hyperparameters)
