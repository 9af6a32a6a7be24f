"""Calls of registered functions with the settings of a config.

The keyword-only arguments of an optimizer or schedule are its settings: those
that are fields of `config.optimizer.<role>` come from there, all others from
texts such as 'b1=0.95'.
"""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def _options(texts: Sequence[str], function: Callable, where: str) -> dict:
  """Parses 'name=value' texts into settings of a function.

  Raises:
    ValueError: one is no setting of it, or no Python literal.
  """
  accepted = names(function)
  options = {}
  for text in texts:
    name, _, value = text.partition('=')
    if name not in accepted:
      raise ValueError(
        f'{where} has {text!r}; its settings are {", ".join(accepted)}'
      )
    try:
      options[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      raise ValueError(
        f'{where} has {text!r}; the value should be a number or a text in '
        'quotes'
      ) from None
  return options


def names(function: Callable) -> list[str]:
  """Returns the names of a function's keyword-only arguments."""
  parameters = inspect.signature(function).parameters.values()
  return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def call(
  function: Callable,
  first: Any,
  fields: Mapping[str, Any],
  options: Sequence[str],
  where: str,
):
  """Calls a registered function with the fields and options it accepts."""
  settings = {n: v for n, v in fields.items() if n in names(function)}
  settings |= _options(options, function, where)
  try:
    return function(first, **settings)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{where}: {error}') from error
