"""Rules: what the value of a config field may be, and how to say it.

Nothing heavy is imported until a rule is applied, so that `--help`, which
lists the fields, stays fast.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
  """A condition on a value.

  Attributes:
    accepts: value -> whether it is valid; may raise TypeError if it is not.
    expected: what would be valid, after 'should be'.
  """

  accepts: Callable[[Any], bool]
  expected: str


def anything(expected: str = 'anything') -> Rule:
  """Accepts every value; its type is checked when it is set."""
  return Rule(lambda value: True, expected)


def _is_whole(value: Any) -> bool:
  """Returns whether a value is a whole number; True is none."""
  return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
  """Returns whether a value is a finite number; True is none."""
  return not isinstance(value, bool) and math.isfinite(value)


def whole(low: int, high: float = math.inf) -> Rule:
  """Accepts whole numbers in [low, high]."""
  expected = f'a whole number of at least {low}'
  if high != math.inf:
    expected = f'a whole number from {low} to {high}'
  return Rule(lambda v: _is_whole(v) and low <= v <= high, expected)


def number(low: float, high: float = math.inf) -> Rule:
  """Accepts finite numbers in [low, high]."""
  expected = f'a number of at least {low}'
  if high != math.inf:
    expected = f'a number from {low} to {high}'
  return Rule(lambda v: _is_finite(v) and low <= v <= high, expected)


def positive(high: float = math.inf) -> Rule:
  """Accepts finite numbers above 0, up to `high`."""
  expected = 'a number above 0'
  if high != math.inf:
    expected += f' and up to {high}'
  return Rule(lambda v: _is_finite(v) and 0 < v <= high, expected)


def one_of(*values: Any) -> Rule:
  """Accepts one of a few values."""
  return Rule(lambda v: v in values, 'one of ' + ', '.join(map(repr, values)))


def some_of(*values: Any) -> Rule:
  """Accepts a non-empty tuple of some of a few values."""
  listed = ', '.join(map(repr, values))
  return Rule(
    lambda v: isinstance(v, tuple) and bool(v) and set(v) <= set(values),
    f'one or more of {listed}',
  )


def epochs() -> Rule:
  """Accepts rising epochs."""
  return Rule(
    lambda v: (
      all(_is_whole(e) and e >= 0 for e in v) and sorted(set(v)) == [*v]
    ),
    'rising whole epochs, such as (100, 150)',
  )


def shares() -> Rule:
  """Accepts a smallest and a largest share."""
  return Rule(
    lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1,
    'two rising numbers above 0 and up to 1, such as (0.08, 1.0)',
  )


def assignments(example: str) -> Rule:
  """Accepts a tuple of 'name=value' texts."""
  return Rule(
    lambda v: (
      isinstance(v, tuple) and all(isinstance(t, str) and '=' in t for t in v)
    ),
    f'a tuple of name=value, such as {example}',
  )


def _no_error(check: Callable[[Any], Any]) -> Callable[[Any], bool]:
  """Returns whether `check(value)` raises no ValueError."""

  def accepts(value):
    try:
      check(value)
    except ValueError:
      return False
    return True

  return accepts


def train_config() -> Rule:
  """Accepts FILE, FILE:CHOICES or :CHOICES."""
  return Rule(
    lambda v: bool(v.strip(': ')),
    "FILE:CHOICES, or :CHOICES for this run's file",
  )


def data_set(config) -> Rule:
  """Accepts the name of a registered data set."""
  del config
  from peeraid_jax import data

  return one_of(*data.SOURCES)


def model(config) -> Rule:
  """Accepts the name of a registered architecture."""
  del config
  from peeraid_jax import models

  return Rule(_no_error(models.get), f'one of {models.MODELS.describe()}')


def dtype(config) -> Rule:
  """Accepts 'float32' or 'bfloat16'."""
  del config
  from peeraid_jax import models

  return one_of(*models.DTYPES)


def normalization(*also: str) -> Callable[[Any], Rule]:
  """Accepts normalizations by name or by numbers, and the values `also`."""

  def rule(config) -> Rule:
    """Accepts a name, or numbers as 'mean,mean,mean/std,std,std'."""
    del config
    import numpy as np

    from peeraid_jax import models

    names = ', '.join(map(repr, (*also, *models.NORMALIZATIONS)))

    def check(value):
      # A mean and a deviation, each a number or a tuple; or None.
      numbers = models.normalization_of(value) or ()
      if not all(np.isfinite(part).all() for part in numbers):
        raise ValueError(value)

    return Rule(
      lambda v: v in also or _no_error(check)(v),
      f"one of {names}, or numbers as 'mean,mean,mean/std,std,std'",
    )

  return rule


def norm(config) -> Rule:
  """Accepts 'Linf' or 'L2'."""
  del config
  from peeraid_jax import attacks

  return one_of(*attacks.NORMS)


def start(config) -> Rule:
  """Accepts 'normal', 'uniform' or 'none'."""
  del config
  from peeraid_jax import attacks

  return one_of(*attacks.STARTS)


def radius(config) -> Rule:
  """Accepts a number of at least 0; in Linf at most 1."""
  return number(0, 1) if config.attack.norm == 'Linf' else number(0)


def image_size(config) -> Rule:
  """Accepts 8 to 4096 where images have any size, and 0 elsewhere."""
  from peeraid_jax import data

  name = config.data.name
  if name in data.SOURCES and not data.get(name).shape[0]:
    return whole(8, 4096)
  return Rule(lambda v: v == 0, f'0: the images of {name} have one size')


def padding(config) -> Rule:
  """Accepts whole numbers from 0 to the height of an image."""
  from peeraid_jax.config import dataset

  return whole(0, dataset.facts_of(config.data).shape[0] or math.inf)


def attack(config) -> Rule:
  """Accepts 'clean', 'fgsm', 'pgd<steps>', 'cw<steps>' or a registered one."""
  from peeraid_jax import attacks

  del config
  return Rule(
    lambda v: v in attacks.ATTACKS, f'one of {attacks.ATTACKS.describe()}'
  )


def attacks(config) -> Rule:
  """Accepts a tuple of names, such as ('clean', 'pgd20', 'autoattack')."""
  from peeraid_jax import attacks as attacks_lib

  special = (*attacks_lib.CASCADE, *attacks_lib.OTHER)
  single = attack(config)
  return Rule(
    lambda v: (
      isinstance(v, tuple)
      and bool(v)
      and all(name in special or single.accepts(name) for name in v)
    ),
    f'one or more of {attacks_lib.ATTACKS.describe()}, {", ".join(special)}, '
    "such as ('clean', 'pgd20')",
  )
