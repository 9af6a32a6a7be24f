"""Clean, robust and transfer accuracy, with one outcome per example.

Every example counts exactly once: the last batch is padded and its padding
discarded. The noise of an attack depends on the seed, the attack's name and
the example's row in the data set, so that outcomes do not depend on the batch
size or the number of devices.
"""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from peeraid_jax import attacks as attacks_lib
from peeraid_jax import checks
from peeraid_jax import images as images_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel, processes

# tick(role, attack, done, total): progress of an attack on a role's network.
Tick = Callable[[str, str, int, int], None]


class Transfer(NamedTuple):
  """Asks for the accuracy of `target` on images that attack `source`."""

  target: str
  source: str
  attack: str

  @property
  def name(self) -> str:
    return f'{self.target}_on_{self.source}_{self.attack}'


class Outcomes(NamedTuple):
  """Whether each example was classified correctly.

  Attributes:
    roles: role -> attack -> bool [N], on images that attack this role.
    transfer: `Transfer.name` -> bool [N], on images that attack another role.
  """

  roles: dict[str, dict[str, np.ndarray]]
  transfer: dict[str, np.ndarray]


def summary(outcomes: Mapping[str, np.ndarray]) -> dict[str, dict]:
  """Averages outcomes.

  Args:
    outcomes: name -> bool [N].

  Returns:
    name -> {'accuracy': in [0, 1], 'n': N}.
  """
  return {
    name: {'accuracy': float(np.mean(correct)), 'n': len(correct)}
    for name, correct in outcomes.items()
  }


def _is_correct(net, images, labels):
  return images_lib.predicted(net.eval(images).logits) == labels


class _Evaluator:
  """Evaluates networks; compiles each attack once.

  Args:
    attack_named: attack name -> attack, as `attacks.named` returns it.
    batch_size: global batch size, rounded up to a multiple of the devices.
    seed: seed of the attacks' noise.
    devices: devices of this process.
  """

  def __init__(self, attack_named, batch_size: int, seed: int, devices):
    self._attack_named = attack_named
    self._seed = seed
    self._devices = devices
    self._batch_shape = (len(devices), -(-batch_size // len(devices)))
    self._compiled_attacks: dict[str, Callable] = {}
    self._is_correct = parallel.pmap(
      _is_correct, split=(False, True, True), out=True, devices=devices
    )

  def __call__(
    self,
    nets: Mapping[str, nets_lib.Net],
    data,
    attacks: Mapping[str, Sequence[str]],
    transfer: Sequence[Transfer] = (),
    tick: Tick | None = None,
  ) -> Outcomes:
    """Evaluates networks; see `make_evaluate`."""
    images_lib.check_labels(data.labels, count=len(data.images))
    tick = tick or (lambda role, attack, done, total: None)
    outcomes = Outcomes({role: {} for role in attacks}, {})
    white_box = [(role, name) for role in attacks for name in attacks[role]]
    only_for_transfer = {(t.source, t.attack) for t in transfer}
    only_for_transfer -= set(white_box)
    for source, attack in (*white_box, *sorted(only_for_transfer)):
      transfers = [
        t for t in transfer if (t.source, t.attack) == (source, attack)
      ]
      targets = dict.fromkeys((source, *(t.target for t in transfers)))
      correct = self._attack_and_classify(
        nets, data, source, attack, targets, tick
      )
      if (source, attack) in white_box:
        outcomes.roles[source][attack] = correct[source]
      for item in transfers:
        outcomes.transfer[item.name] = correct[item.target]
    return outcomes

  def _attack_and_classify(
    self, nets, data, source: str, attack: str, targets: Iterable[str], tick
  ) -> dict[str, np.ndarray]:
    """Attacks one network and classifies the images by several.

    Args:
      nets, data, tick: as in `make_evaluate`.
      source: role of the network that is attacked.
      attack: name of the attack.
      targets: roles of the networks that classify the attacked images.

    Returns:
      target -> whether it is correct, bool [N], the same in every process.
    """
    correct = {role: np.zeros(len(data.labels), bool) for role in targets}
    # Each process evaluates its own part of the examples.
    own_rows = processes.mine(len(data.labels)).astype(np.int32)

    def evaluate_own():
      done = 0
      for examples in self._padded_batches(data, own_rows):
        tick(source, attack, done, len(own_rows))
        attacked = self._compiled(attack)(nets[source], examples)
        rows = own_rows[done : done + examples.position.size]
        for role in targets:
          hits = self._is_correct(nets[role], attacked, examples.labels)
          correct[role][rows] = np.asarray(hits).reshape(-1)[: len(rows)]
        done += examples.position.size

    processes.together(evaluate_own)
    return {role: processes.share(hits) for role, hits in correct.items()}

  def _padded_batches(self, data, rows) -> Iterator[batches.Streamed]:
    """Yields examples with the leading axes [devices, examples per device].

    The last batch is padded with repeats of its last example.
    """
    batch_size = self._batch_shape[0] * self._batch_shape[1]
    padding = -len(rows) % batch_size
    by_batch = np.pad(rows, (0, padding), mode='edge').reshape(-1, batch_size)
    images_by_batch = batches.read(data.images, by_batch)
    for batch_rows, images in zip(by_batch, images_by_batch, strict=True):
      index = batch_rows.reshape(self._batch_shape)
      images = images.reshape(*self._batch_shape, *images.shape[1:])
      yield batches.Streamed(images, data.labels[index], index)

  def _compiled(self, name: str) -> Callable:
    """Returns (network, examples) -> attacked images, compiled once."""
    if name not in self._compiled_attacks:
      attack = self._attack_named(name)
      # Attacks differ in their noise.
      stream = zlib.crc32(name.encode())

      def attacked_images(net, examples):
        key = jax.random.fold_in(jax.random.key(self._seed), stream)
        keys = batches.keys_of(key, examples.position)
        batch = examples.read(None)
        logits_fn = lambda images: net.eval(images).logits
        return attack(logits_fn, batch.images, batch.labels, keys)

      self._compiled_attacks[name] = parallel.pmap(
        attacked_images, split=(False, True), out=True, devices=self._devices
      )
    return self._compiled_attacks[name]


def make_evaluate(
  *,
  epsilon: float,
  step_size: float,
  norm: str = 'Linf',
  restarts: int = 1,
  batch_size: int = 256,
  seed: int = 0,
  devices=None,
) -> Callable[..., Outcomes]:
  """Returns an evaluator that compiles each attack once.

  Args:
    epsilon, step_size, norm: settings of all attacks, as in `attacks.pgd`.
    restarts: random restarts of PGD and CW; an example counts as robust only
      if it withstands all of them.
    batch_size: global batch size, rounded up to a multiple of the devices.
    seed: seed of the attacks' noise.
    devices: devices of this process; all of them by default.

  Returns:
    evaluate(nets, data, attacks, transfer=(), tick=None) -> Outcomes. Its
    arguments: `nets`, role -> Net; `data`, a `Dataset`; `attacks`, role ->
    names of attacks; `transfer`, a sequence of `Transfer`; and `tick(role,
    attack, done, total)`, called before every batch with counts of this
    process's examples.

  Raises:
    ValueError: a setting that no attack can work with.
  """
  batch_size = checks.whole('batch_size', batch_size)
  attack_named = functools.partial(
    attacks_lib.named,
    restarts=restarts,
    epsilon=epsilon,
    step_size=step_size,
    norm=norm,
  )
  devices = list(devices) if devices is not None else jax.local_devices()
  return _Evaluator(attack_named, batch_size, seed, devices)
