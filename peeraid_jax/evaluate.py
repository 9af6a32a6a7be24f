"""Exact evaluation: padded, masked, counted per example.

The noise of an attack is keyed by the example's place in the data set, so
that a result does not depend on batch size or number of devices.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import attacks as attacks_lib
from peeraid_jax import nets as nets_lib
from peeraid_jax import parallel, processes
from peeraid_jax.data import batches


class Transfer(NamedTuple):
  """Images crafted against `source` and shown to `target`."""

  target: str
  source: str
  attack: str

  @property
  def name(self) -> str:
    return f'{self.target}_on_{self.source}_{self.attack}'


class Outcomes(NamedTuple):
  """Whether each example was classified correctly.

  Attributes:
    roles: role -> attack -> bool [N], against that role itself.
    transfer: `Transfer.name` -> bool [N].
  """

  roles: dict[str, dict[str, np.ndarray]]
  transfer: dict[str, np.ndarray]


def summary(outcomes: Mapping[str, np.ndarray]) -> dict[str, dict]:
  """Returns name -> {'accuracy', 'n'}."""
  return {
    name: {'accuracy': float(np.mean(o)), 'n': len(o)}
    for name, o in outcomes.items()
  }


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
    epsilon, step_size, norm: of all attacks, as in `attacks.pgd`.
    restarts: of pgd and cw; the worst case per example counts.
    batch_size: global; rounded up to a multiple of the devices.
    seed: of the attacks' noise.
    devices: all local ones by default.

  Returns:
    evaluate(nets, data, attacks, transfer=(), tick=None) -> Outcomes, with
    `nets` role -> Net, `data` a Dataset, `attacks` role -> names, `transfer`
    a sequence of `Transfer`, and `tick(role, attack, done, total)` called
    before every batch.
  """
  # Each process looks at its own part of the examples.
  devices = list(devices) if devices is not None else jax.local_devices()
  count = len(devices)
  per_device = -(-batch_size // count)
  crafts: dict[str, Callable] = {}

  def craft(name: str) -> Callable:
    if name not in crafts:
      settings = {'epsilon': epsilon, 'step_size': step_size, 'norm': norm}
      attack = attacks_lib.named(name, restarts=restarts, **settings)
      code = zlib.crc32(name.encode())

      def per_device_craft(net, examples):
        key = jax.random.fold_in(jax.random.key(seed), code)
        keys = batches.keys_of(key, examples.position)
        batch = examples.read(None)
        logits_fn = lambda x: net.eval(x).logits
        return attack(logits_fn, batch.images, batch.labels, keys)

      crafts[name] = parallel.pmap(
        per_device_craft,
        split=(False, True),
        out=True,
        devices=devices,
      )
    return crafts[name]

  def per_device_correct(net, images, labels):
    return jnp.argmax(net.eval(images).logits, axis=-1) == labels

  correct = parallel.pmap(
    per_device_correct,
    split=(False, True, True),
    out=True,
    devices=devices,
  )

  def on_source(nets, data, source, attack, targets, tick):
    """One attack on one network; returns target -> bool [N]."""
    found = {target: np.zeros(len(data.labels), bool) for target in targets}
    mine = processes.mine(len(data.labels)).astype(np.int32)
    shape = (count, per_device)
    # The last batch is padded with repeats of its last example.
    padding = -len(mine) % (count * per_device)
    rows = np.pad(mine, (0, padding), mode='edge').reshape(
      -1, count * per_device
    )
    for batch, images in enumerate(batches.read(data.images, rows)):
      start = batch * rows.shape[1]
      tick(source, attack, start, len(mine))
      index = rows[batch].reshape(shape)
      examples = batches.Streamed(
        images.reshape(*shape, *images.shape[1:]), data.labels[index], index
      )
      crafted = craft(attack)(nets[source], examples)
      part = mine[start : start + rows.shape[1]]
      for target in targets:
        hits = np.asarray(correct(nets[target], crafted, examples.labels))
        found[target][part] = hits.reshape(-1)[: len(part)]
    return {target: processes.share(hits) for target, hits in found.items()}

  def evaluate(
    nets: Mapping[str, nets_lib.Net],
    data,
    attacks: Mapping[str, Sequence[str]],
    transfer: Sequence[Transfer] = (),
    tick: Callable[[str, str, int, int], None] | None = None,
  ) -> Outcomes:
    tick = tick or (lambda *progress: None)
    result = Outcomes({role: {} for role in attacks}, {})
    wanted = [(role, name) for role in attacks for name in attacks[role]]
    extra = {(t.source, t.attack) for t in transfer} - set(wanted)
    for source, name in (*wanted, *sorted(extra)):
      shown = [t for t in transfer if (t.source, t.attack) == (source, name)]
      targets = dict.fromkeys((source, *(t.target for t in shown)))
      found = on_source(nets, data, source, name, targets, tick)
      if (source, name) in wanted:
        result.roles[source][name] = found[source]
      for item in shown:
        result.transfer[item.name] = found[item.target]
    return result

  return evaluate
