"""Registries: methods, models, data sets, optimizers, ... by name.

One implementation for everything that a config names. `register` adds an
entry from outside of the package, for example at the top of a user's own
config file.
"""

import difflib
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Entry = TypeVar('Entry')

_PACKAGE = str(pathlib.Path(__file__).parent) + os.sep


# Files of the package, and Python's own import system between them.
_NOT_A_CALLER = (_PACKAGE, '<frozen ')


def _caller() -> tuple[str, int]:
  """Returns file and line of the innermost caller outside of this package."""
  frame = sys._getframe(1)
  while frame.f_back and frame.f_code.co_filename.startswith(_NOT_A_CALLER):
    frame = frame.f_back
  return os.path.realpath(frame.f_code.co_filename), frame.f_lineno


class Registry(Generic[Entry]):
  """Entries by name.

  Args:
    kind: what an entry is, in messages: 'method', 'model', ...
  """

  def __init__(self, kind: str):
    self.kind = kind
    self._entries: dict[str, Entry] = {}
    self._origins: dict[str, tuple[str, int]] = {}
    # (pattern, maker, how its names are written)
    self._families: list[
      tuple[re.Pattern[str], Callable[[re.Match[str]], Entry], str]
    ] = []

  def register(self, name: str, entry: Entry, *, replace: bool = False) -> None:
    """Adds an entry.

    Args:
      name: letters, digits, '_' and '-': what a config calls it.
      entry: what `get` returns for it.
      replace: allow a name that is taken, as cells of a notebook that run
        again do. The same line of the same file may always register again: a
        config file is executed several times.

    Raises:
      ValueError: the name is taken, or has other characters.
    """
    origin = _caller()
    if not re.fullmatch(r'[A-Za-z0-9][\w-]*', name):
      raise ValueError(
        f'{self.kind} {name!r} should be named by letters, digits, _ and -'
      )
    again = self._origins.get(name) == origin
    if name in self and not replace and not again:
      raise ValueError(
        f'{self.kind} {name!r} exists already; choose another name, or pass '
        'replace=True'
      )
    self._entries[name] = entry
    self._origins[name] = origin

  def register_family(
    self, pattern: str, make: Callable[[re.Match[str]], Entry], *, written: str
  ) -> None:
    """Adds all names that a pattern matches, such as 'pgd20' and 'pgd100'.

    Args:
      pattern: regular expression of the whole name.
      make: match -> entry.
      written: how such names are written, in messages: 'pgd<steps>'.
    """
    self._families.append((re.compile(pattern), make, written))

  def get(self, name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
      ValueError: no such name; lists the known ones.
    """
    if name in self._entries:
      return self._entries[name]
    for pattern, make, _ in self._families:
      match = pattern.fullmatch(name) if isinstance(name, str) else None
      if match:
        return make(match)
    close = difflib.get_close_matches(str(name), self._entries, n=1)
    hint = f' Did you mean {close[0]}?' if close else ''
    raise ValueError(
      f'{self.kind} {name!r} is unknown; known: {self.describe()}.{hint}'
    )

  def describe(self) -> str:
    """Returns all names in one line, families as they are written."""
    return ', '.join([*self._entries, *(w for _, _, w in self._families)])

  def __getitem__(self, name: str) -> Entry:
    return self.get(name)

  def __contains__(self, name: object) -> bool:
    return name in self._entries or any(
      isinstance(name, str) and pattern.fullmatch(name)
      for pattern, _, _ in self._families
    )

  def __iter__(self) -> Iterator[str]:
    """Iterates over the names; families are not among them."""
    return iter(self._entries)

  def __len__(self) -> int:
    return len(self._entries)

  def keys(self) -> tuple[str, ...]:
    """Returns the names, families not among them."""
    return tuple(self._entries)

  def items(self) -> tuple[tuple[str, Entry], ...]:
    """Returns (name, entry) pairs, families not among them."""
    return tuple(self._entries.items())
