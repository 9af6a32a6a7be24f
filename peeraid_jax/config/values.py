"""The class of configs: what a config file may assign to a field."""

from typing import Any

import ml_collections

# Name of a field's type -> what the field should be, in words.
_SHOULD_BE = {
  'bool': 'True or False',
  'int': 'a whole number',
  'float': 'a number',
  'str': 'a text',
  'tuple': "a tuple, such as ('clean', 'pgd20') or (100, 150)",
  'Config': 'a section with fields of its own',
}


def plain(value: Any) -> Any:
  """Returns the Python value of a NumPy or JAX value; lists become tuples."""
  if isinstance(value, tuple | list):
    return tuple(plain(v) for v in value)
  is_array = hasattr(value, 'dtype') and hasattr(value, 'tolist')
  return value.tolist() if is_array and not isinstance(value, type) else value


class Config(ml_collections.ConfigDict):
  """A config, or a section of one: its fields keep their types."""

  def __setitem__(self, key, value):
    """Sets a field.

    Raises:
      TypeError: the value is not of the field's type; a whole number may
        stand for another number, and a list for a tuple.
    """
    value = plain(value)
    is_section = isinstance(value, ml_collections.ConfigDict | dict)
    if is_section and not isinstance(value, Config):
      value = Config(value)
    kind = type(self[key]).__name__ if key in self else ''
    try:
      if isinstance(value, bool) and kind in ('int', 'float'):
        raise TypeError(value)
      super().__setitem__(key, value)
    except TypeError:
      raise TypeError(
        f'{key}={value!r} should be {_SHOULD_BE.get(kind, kind)}'
      ) from None

  def __eq__(self, other):
    """Compares with configs of this class and of its base."""
    return isinstance(other, ml_collections.ConfigDict) and (
      self.eq_as_configdict(other)
    )

  __hash__ = None  # type: ignore[assignment]
