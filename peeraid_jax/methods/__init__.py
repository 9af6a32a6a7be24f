"""Methods by name: each is one file, built by a factory.

A factory takes `maximise` and its hyperparameters as keyword arguments; the
config's `method.kwargs` are exactly those.
"""

import inspect

from peeraid_jax.methods.adaad import adaad, adaiad
from peeraid_jax.methods.agkd_bml import agkd_bml
from peeraid_jax.methods.akd2 import akd2
from peeraid_jax.methods.ard import ard
from peeraid_jax.methods.base import Method, accuracy
from peeraid_jax.methods.iad import iad1, iad2
from peeraid_jax.methods.ltd import ltd
from peeraid_jax.methods.mart import mart
from peeraid_jax.methods.natural import natural
from peeraid_jax.methods.peeraid import peeraid
from peeraid_jax.methods.pgd_at import pgd_at
from peeraid_jax.methods.rslad import rslad
from peeraid_jax.methods.trades import trades

__all__ = ['METHODS', 'Method', 'accuracy', 'create', 'defaults']

METHODS = {
  'natural': natural,
  'pgd_at': pgd_at,
  'trades': trades,
  'mart': mart,
  'ard': ard,
  'rslad': rslad,
  'akd2': akd2,
  'iad1': iad1,
  'iad2': iad2,
  'adaad': adaad,
  'adaiad': adaiad,
  'ltd': ltd,
  'agkd_bml': agkd_bml,
  'peeraid': peeraid,
}


def get(name: str):
  """Returns the factory of a method.

  Raises:
    ValueError: no method of that name; the known ones are listed.
  """
  if name not in METHODS:
    raise ValueError(
      f'method.name={name!r} is unknown; known: {", ".join(METHODS)}'
    )
  return METHODS[name]


def defaults(name: str) -> dict:
  """Returns a method's hyperparameters with their defaults."""
  parameters = inspect.signature(get(name)).parameters.values()
  return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def create(name: str, maximise, **kwargs) -> Method:
  """Builds a method.

  Args:
    name: a key of `METHODS`.
    maximise: (objective, images, keys) -> adversarial images.
    **kwargs: its hyperparameters.

  Raises:
    ValueError: unknown method or hyperparameter.
  """
  known = defaults(name)
  unknown = set(kwargs) - set(known)
  if unknown:
    raise ValueError(
      f'method.kwargs of {name}: {sorted(unknown)} unknown; known: '
      f'{", ".join(known) or "none"}'
    )
  return get(name)(maximise, **kwargs)
