"""The plan of an evaluation: which attacks run, and with which settings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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


def make(
  version: str,
  attacks: Sequence[str] | None,
  overrides: dict[str, Any],
  norm: str,
  epsilon: float,
  classes: int,
  same_network: bool,
) -> Plan:
  """Returns the plan of an evaluation.

  Args:
    version: of AutoAttack.
    attacks: with version 'custom', names of `suite.ATTACKS`; else None.
    overrides: name -> value, of `suite.Settings`.
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius of the ball; at 0 no attack applies.
    classes: of the network; with less than 2, no attack applies.
    same_network: whether attacks search with the network that decides.

  Raises:
    ValueError: unknown version, norm, attack or setting, or attacks that do
      not belong to the version.
  """
  if (version == 'custom') != (attacks is not None):
    raise ValueError(
      f"{attacks=} and {version=}: 'custom', and no other version, needs a "
      'list of attacks'
    )
  settings = suite.settings_of(
    version, norm=norm, epsilon=epsilon, classes=classes
  )
  unknown = set(overrides) - set(settings._fields)
  if unknown:
    raise ValueError(
      f'{", ".join(sorted(unknown))} unknown; known: '
      f'{", ".join(settings._fields)}'
    )
  # The first image that fools a less precise network often lies too close to
  # its boundary to fool the one that decides: with two networks, APGD takes
  # all steps and returns the last misclassified iterate.
  settings = settings._replace(stop_early=same_network)
  settings = settings._replace(**overrides)
  attacks = tuple(attacks or suite.VERSIONS[version])
  for name in attacks:
    suite.stages(name, settings)  # Raises if it is unknown.
  if classes < 2 or epsilon == 0:
    attacks = ()
  return Plan(version, attacks, settings, tuple(sorted(overrides)))
