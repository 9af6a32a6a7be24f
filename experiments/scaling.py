"""How PeerAiD's step should scale: a cost model, from 1 to 1,024 devices.

python -m experiments.scaling                 prints the page
python -m experiments.scaling experiments/scaling.md  writes it

FLOPs, activations, parameters and batch norms are counted in the networks;
rates are the assumptions below. What a second process costs is measured, by
experiments/benchmarks/processes.py.
"""

import json
import math
import pathlib
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmarks import flops
from peeraid_jax import models

# Forward passes per image, an input gradient counted as one and a training
# pass as three: the peer's clean prediction 1, ten attack steps 20, the peer
# on adversarial images 3, the student on adversarial 3 and on clean ones 3.
PASSES = 1 + 10 * 2 + 3 + 3 + 3
# Passes that normalise by batch statistics, which devices average: one
# all-reduce per norm forward, one backward.
NORM_PASSES = 3
BYTES = 2  # of an activation or a kernel's weight: bfloat16
# Gradients of student and peer, float32.
TRAINED = 2
DEVICES = (1, 2, 8, 16, 64, 256, 1024)
BATCH = 128  # of one device, where the batch grows with the devices
GLOBAL = 1024  # of all, where it does not
PROCESSES = pathlib.Path(__file__).parent / 'results/benchmarks/processes.json'


class Machine(NamedTuple):
  """An accelerator in a cluster, as assumed.

  Attributes:
    name: of the device.
    rate: FLOP/s that a convolutional network is assumed to reach.
    memory: bytes/s that it is assumed to read and write.
    inside: devices that share fast links.
    fast, slow: bytes/s per device and direction, inside and outside.
    fast_latency, slow_latency: seconds of a small all-reduce.
  """

  name: str
  rate: float
  memory: float
  inside: int
  fast: float
  slow: float
  fast_latency: float
  slow_latency: float


MACHINES = (
  Machine(
    'H200, 8 per node',
    0.4 * 790e12,
    0.8 * 4.8e12,
    8,
    450e9,
    50e9,
    15e-6,
    40e-6,
  ),
  Machine(
    'TPU v5e, one pod slice',
    0.4 * 197e12,
    0.8 * 819e9,
    256,
    90e9,
    6e9,
    10e-6,
    60e-6,
  ),
)


class Network(NamedTuple):
  """What the model needs to know of a network."""

  name: str
  flops: float
  activations: float
  parameters: int
  norms: int


def network(name: str) -> Network:
  """Counts a published network for 10 classes at 32x32."""
  module = models.create(name, num_classes=10)
  images = jnp.zeros((1, 32, 32, 3))
  variables = jax.eval_shape(module.init, jax.random.key(0), images)
  forward = lambda v, x: module.apply(v, x).logits
  leaves = jax.tree.leaves(variables['params'])
  return Network(
    name,
    flops.count(forward, variables, images),
    flops.activations(forward, variables, images),
    sum(math.prod(x.shape) for x in leaves),
    len(jax.tree.leaves(variables['batch_stats'])) // 2,
  )


def seconds(net: Network, machine: Machine, devices: int, batch: int):
  """Returns seconds of a step on `devices`, each with `batch` images.

  Returns:
    (computing, gradients' all-reduce, batch norms' all-reduces), none of them
    hidden behind another.
  """
  working = PASSES * net.flops * batch / machine.rate
  moved = PASSES * BYTES * (net.activations * batch + net.parameters)
  computing = max(working, moved / machine.memory)
  if devices == 1:
    return computing, 0.0, 0.0
  # A ring: each byte is sent about twice; the slowest link decides.
  outside = devices > machine.inside
  link = machine.slow if outside else machine.fast
  size = 4 * net.parameters * TRAINED
  gradients = 2 * (devices - 1) / devices * size / link
  latency = machine.slow_latency if outside else machine.fast_latency
  norms = 2 * NORM_PASSES * net.norms * latency
  return computing, gradients, norms


def _row(cells) -> str:
  return f'| {" | ".join(cells)} |'


def table(net: Network, machine: Machine) -> str:
  """Returns a Markdown table of one network on one machine."""
  lines = [
    _row(
      [
        'devices',
        f'step with {BATCH} each, ms',
        'of it gradients, norms, ms',
        'images/s',
        'efficiency',
        f'efficiency with {GLOBAL} in all',
      ]
    ),
    _row(['---:'] * 6),
  ]
  alone = sum(seconds(net, machine, 1, BATCH)) / BATCH
  for devices in DEVICES:
    computing, gradients, norms = seconds(net, machine, devices, BATCH)
    total = computing + gradients + norms
    shared = '–'
    if GLOBAL % devices == 0:
      batch = GLOBAL // devices
      whole = sum(seconds(net, machine, devices, batch))
      shared = f'{100 * alone * batch / whole:.0f} %'
    lines.append(
      _row(
        [
          f'{devices:,}',
          f'{1e3 * total:.1f}',
          f'{1e3 * gradients:.1f}, {1e3 * norms:.1f}',
          f'{devices * BATCH / total:,.0f}',
          f'{100 * computing / total:.0f} %',
          shared,
        ]
      )
    )
  return '\n'.join(lines)


def page() -> str:
  """Returns the page as Markdown."""
  nets = [network(name) for name in ('resnet18', 'wideresnet34x10')]
  parts = [
    '# Scaling, computed',
    'Made by `python -m experiments.scaling experiments/scaling.md`. **Nothing '
    'but its last section is measured**: it says what PeerAiD’s step should '
    'cost, and where it stops to scale.',
    f'The model: a step takes {PASSES} forward passes per image (ten attack '
    'steps of two, the peer’s clean prediction, three training passes of '
    'three), each of which works and reads and writes what its convolutions '
    'need in bfloat16 (norms and activations are fused into them): what takes '
    'longer decides. Then an all-reduce of the gradients of student and peer '
    '(float32, a ring over the slowest link); and two small all-reduces per '
    'batch norm and training pass, which are all latency. Nothing overlaps, '
    'input costs nothing (it lives on the device), and a smaller batch per '
    'device is as efficient as a large one: the last column is kinder than '
    'the truth.',
    _row(
      [
        'network',
        'forward, GFLOP',
        'activations, MB',
        'parameters',
        'batch norms',
        'all-reduced, MB',
      ]
    ),
  ]
  parts[-1] += '\n' + _row(['---', *['---:'] * 5])
  for net in nets:
    parts[-1] += '\n' + _row(
      [
        net.name,
        f'{net.flops / 1e9:.2f}',
        f'{BYTES * net.activations / 1e6:.1f}',
        f'{net.parameters:,}',
        str(net.norms),
        f'{4 * net.parameters * TRAINED / 1e6:.0f}',
      ]
    )
  for machine in MACHINES:
    parts.append(
      f'## {machine.name}\n\nAssumed: {machine.rate / 1e12:.0f} TFLOP/s '
      f'reached (40 % of the matrix rate in bfloat16), '
      f'{machine.memory / 1e12:.2f} TB/s of memory (80 %), {machine.inside} '
      f'devices with {machine.fast / 1e9:.0f} GB/s each way and '
      f'{machine.slow / 1e9:.0f} GB/s beyond them, '
      f'{1e6 * machine.fast_latency:.0f} and {1e6 * machine.slow_latency:.0f} '
      'µs for a small all-reduce.'
    )
    for net in nets:
      parts.append(f'**{net.name}**\n\n{table(net, machine)}')
  parts.append(_measured())
  return '\n\n'.join(parts) + '\n'


def _measured() -> str:
  """Says what a second process costs, as its benchmark has found."""
  found = json.loads(PROCESSES.read_text())
  apart, together = (
    found['measured'][name]
    for name in ('two_apart_over_one', 'two_together_over_two_apart')
  )
  rounds = len(found['measured']['seconds_per_step']['one'])
  return (
    '## Measured: one process and two\n\n'
    f'{found["network"]}, {found["images_per_process"]} images and '
    f'{found["cores_per_process"]} core for each, on {found["device"]}, '
    f'commit {found["commit"][:8]}; medians of {rounds} rounds. Two processes '
    'that know nothing of each other take '
    f'{apart["median"]:.2f} times as long per step as one alone '
    f'({apart["min"]:.2f} to {apart["max"]:.2f}): cores share what they have. '
    f'Two that are one run take {together["median"]:.2f} times as long as '
    f'those ({together["min"]:.2f} to {together["max"]:.2f}): gloo over TCP, '
    'we think because its threads share the core with the computation. So '
    'small networks on CPUs are better off in one process; it says nothing of '
    'GPUs and TPUs, where we have not measured.'
  )


def main(arguments: list[str]) -> None:
  """Prints the page, or writes it to the named file."""
  if arguments:
    pathlib.Path(arguments[0]).write_text(page())
  else:
    print(page())


if __name__ == '__main__':
  main(sys.argv[1:])
