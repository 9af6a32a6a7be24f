"""Calls of registered functions with the settings of a config.

The keyword-only arguments of an optimizer or schedule are its settings: those
that are fields of `config.optimizer.<role>` come from there, all others from
texts such as 'b1=0.95'.
"""

import ast
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


def _parameters(function: Callable) -> dict[str, inspect.Parameter]:
  """Returns the keyword-only parameters of a function by name."""
  parameters = inspect.signature(function).parameters
  return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def names(function: Callable) -> list[str]:
  """Returns the names of a function's keyword-only arguments."""
  return list(_parameters(function))


def _has_type_of(value: Any, default: Any) -> bool:
  """Returns whether a value may stand where a default stands."""
  if isinstance(default, bool | str):
    return type(value) is type(default)
  if isinstance(default, int | float):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
  return True


def _options(
  texts: Sequence[str], function: Callable, where: str, fixed: Collection[str]
) -> dict[str, Any]:
  """Parses 'name=value' texts into settings of a function.

  Raises:
    ValueError: one is no setting of it, is there twice, or has a value that is
      no Python literal or of another type than the default.
  """
  accepted = {n: p for n, p in _parameters(function).items() if n not in fixed}
  options: dict[str, Any] = {}
  for text in texts:
    name, _, written = text.partition('=')
    if name not in accepted:
      raise ValueError(
        f'{where} has {text!r}; its settings are {", ".join(accepted)}'
      )
    if name in options:
      raise ValueError(f'{where} has {name!r} twice; leave out one of them')
    try:
      value = ast.literal_eval(written)
    except (ValueError, SyntaxError):
      raise ValueError(
        f'{where} has {text!r}; the value should be a number or a text in '
        'quotes'
      ) from None
    default = accepted[name].default
    if not _has_type_of(value, default):
      raise ValueError(
        f'{where} has {text!r}; the value should be like {default!r}'
      )
    options[name] = value
  return options


def call(
  function: Callable,
  first: Any,
  fields: Mapping[str, Any],
  options: Sequence[str],
  where: str,
  *,
  fixed: Mapping[str, Any] | None = None,
):
  """Calls a registered function with the fields and options it accepts.

  Args:
    function: its keyword-only arguments are its settings.
    first: its first argument.
    fields: settings that the config has, by name.
    options: further settings, as 'name=value'; they go before fields.
    where: the config field of the options, for messages.
    fixed: settings that follow from the run; no option may change them.

  Raises:
    ValueError: an option or a value is bad.
  """
  fixed = fixed or {}
  accepted = names(function)
  chosen = {n: v for n, v in {**fields, **fixed}.items() if n in accepted}
  chosen |= _options(options, function, where, fixed)
  try:
    return function(first, **chosen)
  except (TypeError, ValueError, ArithmeticError) as error:
    raise ValueError(f'{where}: {error}') from error


def unused(
  function: Callable, fields: Mapping[str, Any], looked_at: Sequence[str]
) -> list[str]:
  """Returns those names of fields that are set and that a function lacks.

  Args:
    function: its keyword-only arguments are its settings.
    fields: settings that the config has; one is not set if it is 0 or empty.
    looked_at: names of fields.
  """
  accepted = names(function)
  return [name for name in looked_at if fields[name] and name not in accepted]
