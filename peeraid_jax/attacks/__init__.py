"""Attacks: pure functions of `logits_fn(images) -> logits`.

`named` builds an evaluation attack from its name in a config; `register` adds
an attack from outside of the package:

    def noise(*, epsilon, step_size, norm, restarts):
      def attack(logits_fn, images, labels, key):
        return ...  # images in the epsilon-ball and in [0, 1]
      return attack

    peeraid_jax.attacks.register('noise', noise)
"""

import functools
import re
from collections.abc import Callable

import chex

from peeraid_jax import checks, registry
from peeraid_jax import images as images_lib
from peeraid_jax.attacks.ascent import NORMS, STARTS, maximise, per_example
from peeraid_jax.attacks.pgd import LogitsFn, cw, fgsm, pgd
from peeraid_jax.attacks.projections import project

__all__ = [
  'ATTACKS',
  'CASCADE',
  'NORMS',
  'OTHER',
  'STARTS',
  'cw',
  'fgsm',
  'maximise',
  'named',
  'per_example',
  'pgd',
  'project',
  'register',
]

# (logits_fn, images [B, H, W, C], labels [B], key) -> images [B, H, W, C]
Attack = Callable[[LogitsFn, chex.Array, chex.Array, chex.PRNGKey], chex.Array]
# (epsilon=..., step_size=..., norm=..., restarts=...) -> attack
Factory = Callable[..., Attack]

ATTACKS: registry.Registry[Factory] = registry.Registry('attack')

# AutoAttack and its parts: names in `eval.attacks` that the package
# `autoattack` runs, and `named` does not know.
CASCADE = (
  'autoattack',
  'apgd_ce',
  'apgd_dlr',
  'apgd_t',
  'fab',
  'fab_t',
  'square',
)
# Further names in `eval.attacks`: each network on the images that attack the
# others, and the checks for obfuscated gradients.
OTHER = ('transfer', 'obfuscation')


def register(name: str, factory: Factory, *, replace: bool = False) -> None:
  """Adds an attack, so that configs and `named` can name it.

  Args:
    name: letters, digits, '_' and '-'.
    factory: returns `attack(logits_fn, images, labels, key) -> images` for the
      keyword arguments epsilon, step_size, norm and restarts, which are
      described in `pgd`. The attack is compiled: it is a pure JAX function of
      images [B, H, W, C] in [0, 1], int labels [B] and one key per example,
      [B]. It returns images in the epsilon-ball and in [0, 1]. An example's
      image may depend on its own row and key alone.
    replace: allow a name that is taken.

  Raises:
    ValueError: the name is taken, or has other characters.
  """
  if name in (*CASCADE, *OTHER):
    raise ValueError(
      f'attack {name!r} exists already, outside of this registry; choose '
      'another name'
    )
  ATTACKS.register(name, factory, replace=replace)


def named(
  name: str, *, epsilon: float, step_size: float, norm: str, restarts: int = 1
) -> Attack:
  """Returns the evaluation attack of a name.

  Args:
    name: in `ATTACKS`: 'clean', 'fgsm', 'pgd20', 'cw30', ...; the number is
      that of steps.
    epsilon, step_size, norm, restarts: as in `pgd`.

  Returns:
    attack(logits_fn, images, labels, key) -> images.

  Raises:
    ValueError: unknown name; the known ones are listed. Or a setting that no
      attack can work with.
  """
  if not isinstance(norm, str):
    raise ValueError(f'{norm=} should be a name, such as {NORMS[0]!r}')
  checks.radius('epsilon', epsilon, norm=norm)
  checks.radius('step_size', step_size, norm=norm)
  checks.whole('restarts', restarts)
  try:
    factory = ATTACKS.get(name)
  except ValueError as error:
    raise ValueError(
      f'{error} An evaluation also has {", ".join((*CASCADE, *OTHER))}.'
    ) from None
  return factory(
    epsilon=epsilon, step_size=step_size, norm=norm, restarts=restarts
  )


def _clean(**settings) -> Attack:
  """No attack: the images themselves."""
  del settings

  def attack(logits_fn, images, labels, key):
    del logits_fn, key
    images_lib.check(images, labels)
    return images

  return attack


def _fgsm(*, epsilon, norm, **settings) -> Attack:
  """One step of length epsilon from the images: nothing else matters."""
  del settings
  return functools.partial(fgsm, epsilon=epsilon, norm=norm)


def _register_family(name: str, attack: Callable) -> None:
  """Adds the names that consist of an attack's name and its steps."""

  def factory_of(match: re.Match[str]) -> Factory:
    return lambda **settings: functools.partial(
      attack, steps=int(match[1]), **settings
    )

  ATTACKS.register_family(
    rf'{name}([1-9]\d{{0,5}})', factory_of, written=f'{name}<steps>'
  )


def _register_built_in() -> None:
  register('clean', _clean)
  register('fgsm', _fgsm)
  _register_family('pgd', pgd)
  _register_family('cw', cw)


_register_built_in()
