"""What an evaluation is asked for: networks, attacks and test images."""

from typing import Any, NamedTuple

from peeraid_jax import attacks as attacks_lib
from peeraid_jax import config as config_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax.data import corruptions as corruptions_lib
from peeraid_jax.data import splits
from peeraid_jax.evaluation import entries, selection
from peeraid_jax.runtime import progress

# The checks for masked gradients compare these two.
OBFUSCATION_ATTACKS = ('apgd_t', 'square')


class Request(NamedTuple):
  """What `config.eval.attacks` requests.

  Attributes:
    plain: attacks of `attacks.named`, such as 'clean' and 'pgd20'.
    autoattack: 'autoattack' and single attacks of it.
    all_transfers: each network on images that attack each other network.
    obfuscation: the checks for masked gradients.
  """

  plain: tuple[str, ...]
  autoattack: tuple[str, ...]
  all_transfers: bool
  obfuscation: bool


def request(config) -> Request:
  """Sorts the names in `config.eval.attacks` by what computes them."""
  names = config.eval.attacks
  # Without duplicates, as all lists of names here.
  plain = dict.fromkeys(
    name
    for name in names
    if name not in (*attacks_lib.CASCADE, *attacks_lib.OTHER)
  )
  of_autoattack = [name for name in names if name in attacks_lib.CASCADE]
  if 'obfuscation' in names:
    of_autoattack += OBFUSCATION_ATTACKS
  return Request(
    tuple(plain),
    tuple(dict.fromkeys(of_autoattack)),
    'transfer' in names,
    'obfuscation' in names,
  )


class Subject(NamedTuple):
  """What is evaluated, and on which images.

  Attributes:
    config: validated, the config of the work directory.
    workdir: of the run.
    nets: role -> network, of all networks of the run.
    evaluated: those that are attacked.
    sources: role -> the checkpoint that its network comes from, as JSON.
    data: the test images to evaluate on.
    subset: what they are: 'all', 'first' or 'stratified'.
    corruptions: corrupted test images, or None.
    provenance: commit, device and versions.
  """

  config: Any
  workdir: Any
  nets: dict[str, nets_lib.Net]
  evaluated: dict[str, nets_lib.Net]
  sources: dict[str, dict[str, Any]]
  data: splits.Dataset
  subset: str
  corruptions: corruptions_lib.Folder | None
  provenance: dict[str, Any]

  @property
  def threat(self) -> dict[str, Any]:
    """Settings of the plain attacks."""
    return {
      'norm': self.config.attack.norm,
      'epsilon': self.config.attack.epsilon,
      'step_size': config_lib.eval_step_size(self.config),
      'restarts': self.config.eval.restarts,
    }

  def entry(self, kind, role, name, result, settings, **other) -> entries.Entry:
    """Returns an entry of results.json, of this subject.

    Args:
      kind, role, name, result, settings: as of `entries.new`.
      **other: may be 'images' as of `entries.new`, if they are others; and
        'others', roles of further networks that the result depends on.
    """
    roles = (role, *other.get('others', ()))
    return entries.new(
      kind,
      role,
      name,
      result,
      settings=settings,
      images=other.get('images', (len(self.data.labels), self.subset)),
      sources={r: self.sources[r] for r in roles if r in self.sources},
      provenance=self.provenance,
    )


def evaluated_nets(config, workdir, nets) -> dict[str, Any]:
  """Returns the run's own networks that `config.eval.roles` names.

  A teacher's accuracies are in the results of the run that trained it.

  Raises:
    ValueError: the run has none of them.
  """
  own, named = selection.own_nets(nets), config.eval.roles
  evaluated = {role: net for role, net in own.items() if role in named}
  if not evaluated:
    raise ValueError(
      f'config.eval.roles={named} should name networks of the run; {workdir} '
      f'has {", ".join(own)}'
    )
  missing = [role for role in named if role not in own]
  # By default all roles are named, whichever the run has.
  if missing and set(named) != set(config_lib.OWN_ROLES):
    progress.say(
      f'note: {workdir} has no {" and no ".join(missing)}, which '
      f'config.eval.roles names; it has {", ".join(own)}'
    )
  return evaluated
