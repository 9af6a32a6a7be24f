"""The plan of an evaluation: which attacks run, and with which settings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peeraid_jax import checks
from peeraid_jax.autoattack import suite


class Plan(NamedTuple):
  """What an evaluation runs.

  Attributes:
    version: of AutoAttack: 'standard', 'plus', 'rand' or 'custom'.
    attacks: names of `suite.ATTACKS`, in order; empty if no attack applies.
    settings: of the attacks.
    changed: names of the settings that differ from the version's.
  """

  version: str
  attacks: tuple[str, ...]
  settings: suite.Settings
  changed: tuple[str, ...]

  def to_json(self) -> dict[str, Any]:
    """Returns everything, with the settings one by one."""
    return {
      'version': self.version,
      'attacks': list(self.attacks),
      'changed': list(self.changed),
      **self.settings._asdict(),
    }


def samples_of(version: str, overrides: dict[str, Any]) -> int:
  """Returns how many gradients are averaged per step.

  Args:
    version: of AutoAttack.
    overrides: as in `make`.

  Returns:
    1; more for a network that draws random numbers.

  Raises:
    ValueError: unknown version, or a number that is wrong for it.
  """
  checks.one_of('version', version, (*suite.VERSIONS, 'custom'))
  draws = version == 'rand'
  default = suite.RAND_SAMPLES if draws else 1
  samples = overrides.get('samples', default)
  return checks.whole('samples', samples, least=2 if draws else 1)


def _attacks(version: str, attacks: Sequence[str] | None) -> tuple[str, ...]:
  """Returns the names of the attacks; see `make`."""
  if (version == 'custom') != (attacks is not None):
    raise ValueError(
      f"{attacks=} and {version=}: 'custom', and no other version, needs a "
      'list of attacks'
    )
  if attacks is None:
    return suite.VERSIONS[version]
  if isinstance(attacks, str) or not isinstance(attacks, Sequence):
    raise ValueError(f'{attacks=} should be a list of names')
  if not attacks or len({*map(str, attacks)}) < len(attacks):
    raise ValueError(
      f'{attacks=} should name one or more attacks, each once, of '
      f'{", ".join(suite.ATTACKS)}'
    )
  for name in attacks:
    checks.one_of('attacks: name', name, suite.ATTACKS)
  return tuple(attacks)


def _checked(settings: suite.Settings, overrides) -> suite.Settings:
  """Returns the settings with the overrides; see `make`."""
  unknown = set(overrides) - set(settings._fields)
  if unknown:
    raise ValueError(
      f'{", ".join(sorted(unknown))} unknown; known: '
      f'{", ".join(settings._fields)}'
    )
  classes, changes = settings.classes, dict(overrides)
  for name in {'steps', 'queries', 'restarts', 'samples'} & set(changes):
    changes[name] = checks.whole(name, changes[name])
  if 'targets' in changes:
    changes['targets'] = checks.whole(
      'targets', changes['targets'], most=classes - 1
    )
  if checks.whole('classes', changes.get('classes', classes)) != classes:
    raise ValueError(f'classes={overrides["classes"]}: logits_fn has {classes}')
  for name in {'shrinking', 'stop_early'} & set(changes):
    if not isinstance(changes[name], bool):
      raise ValueError(f'{name}={changes[name]!r} should be True or False')
  settings = settings._replace(**changes)
  if settings.shrinking and settings.norm != 'L1':
    raise ValueError(f"shrinking=True needs norm='L1', not {settings.norm!r}")
  if settings.shrinking:
    # One step at least for each of the three radii.
    checks.whole('steps', settings.steps, least=3)
  return settings


def make(
  version: str,
  attacks: Sequence[str] | None,
  overrides: dict[str, Any],
  settings: suite.Settings,
  same_network: bool,
) -> Plan:
  """Returns the plan of an evaluation.

  Args:
    version: of AutoAttack.
    attacks: with version 'custom', names of `suite.ATTACKS`; else None.
    overrides: name -> value, of `suite.Settings`.
    settings: of the version. At epsilon 0, and with less than two classes, no
      attack applies.
    same_network: whether attacks search with the network that decides.

  Raises:
    ValueError: unknown attack or setting, a value that is wrong, or attacks
      that do not belong to the version.
  """
  attacks = _attacks(version, attacks)
  # The first image that fools a less precise network often lies too close to
  # its boundary to fool the one that decides: with two networks, APGD takes
  # all steps and returns the last misclassified iterate.
  settings = settings._replace(stop_early=same_network)
  settings = _checked(settings, overrides)
  others = set(attacks) - set(suite.VERSIONS['rand'])
  if settings.samples > 1 and others:
    raise ValueError(
      f'samples={settings.samples}: {", ".join(sorted(others))} cannot attack '
      'a network that draws random numbers'
    )
  if settings.classes < 2 or settings.epsilon == 0:
    attacks = ()
  return Plan(version, attacks, settings, tuple(sorted(overrides)))
