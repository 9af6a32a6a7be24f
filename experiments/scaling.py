"""A cost model of PeerAiD's step on 1 to 1,024 devices.

python -m experiments.scaling                         prints the page
python -m experiments.scaling experiments/scaling.md  writes it

FLOPs, activations, parameters and batch norms are counted in the networks. The
rates of the machines are assumptions (`MACHINES`). The only measurement, the
cost of a second process, comes from experiments/benchmarks/processes.py.
"""

import math
import pathlib
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.benchmarks import flops, markdown
from peeraid_jax import files, models

# Work of a step per image, in forward passes. An input gradient costs another
# one, a training pass (forward and both gradients) three. The peer's clean
# prediction: 1; ten attack steps: 20; training the peer on adversarial images:
# 3; the student on adversarial images: 3, on clean images: 3.
PASSES = 1 + 10 * 2 + 3 + 3 + 3
# Training passes. Batch norm averages its statistics over the devices there:
# one all-reduce per norm forward, and one backward.
NORM_PASSES = 3
BYTES = 2  # of an activation or a kernel's weight: bfloat16
TRAINED = 2  # networks whose float32 gradients are all-reduced: student, peer
DEVICES = (1, 2, 8, 16, 64, 256, 1024)
BATCH = 128  # images per device, where the batch grows with the devices
GLOBAL = 1024  # images of all devices together, where the batch is constant
PROCESSES = pathlib.Path(__file__).parent / 'results/benchmarks/processes.json'


class Machine(NamedTuple):
  """Assumptions about an accelerator in a cluster.

  Attributes:
    name: the device's name, with its group (node or slice).
    rate: FLOP/s that a convolutional network reaches.
    memory: bytes/s that it reads and writes.
    inside: devices of a group, which share fast links.
    fast: bytes/s per device and direction inside a group.
    slow: bytes/s per device and direction between groups.
    fast_latency: seconds of a small all-reduce inside a group.
    slow_latency: seconds of a small all-reduce over several groups.
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
  """What the cost model needs to know about a network.

  Attributes:
    name: the architecture's name.
    flops: operations of a forward pass of one image.
    activations: values that the convolutions of this pass read and write.
    parameters: number of parameters.
    norms: number of batch norms.
  """

  name: str
  flops: float
  activations: float
  parameters: int
  norms: int


def network(name: str) -> Network:
  """Analyses an architecture for 10 classes and 32x32 images."""
  module = models.create(name, num_classes=10, convolutions='stock')
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
  """Estimates the time of a step.

  Args:
    net: the network.
    machine: the devices.
    devices: their number.
    batch: images per device.

  Returns:
    Seconds of (computation, all-reduce of the gradients, all-reduces of batch
    norm). The model assumes that they do not overlap.
  """
  arithmetic = PASSES * net.flops * batch / machine.rate
  traffic = PASSES * BYTES * (net.activations * batch + net.parameters)
  computing = max(arithmetic, traffic / machine.memory)
  if devices == 1:
    return computing, 0.0, 0.0
  # In a ring, each device sends every byte about twice; the slowest link is
  # the bottleneck.
  several_groups = devices > machine.inside
  link = machine.slow if several_groups else machine.fast
  size = 4 * net.parameters * TRAINED
  gradients = 2 * (devices - 1) / devices * size / link
  latency = machine.slow_latency if several_groups else machine.fast_latency
  norms = 2 * NORM_PASSES * net.norms * latency
  return computing, gradients, norms


def table(net: Network, machine: Machine) -> str:
  """Returns a Markdown table of one network on one machine."""
  heads = [
    'devices',
    f'step with {BATCH} images each, ms',
    'of it gradients, norms, ms',
    'images/s',
    'efficiency',
    f'efficiency with {GLOBAL} images in all',
  ]
  rows = []
  per_image_alone = sum(seconds(net, machine, 1, BATCH)) / BATCH
  for devices in DEVICES:
    computing, gradients, norms = seconds(net, machine, devices, BATCH)
    total = computing + gradients + norms
    constant_batch = '–'
    if GLOBAL % devices == 0:
      batch = GLOBAL // devices
      step = sum(seconds(net, machine, devices, batch))
      constant_batch = f'{100 * per_image_alone * batch / step:.0f} %'
    rows.append(
      [
        f'{devices:,}',
        f'{1e3 * total:.1f}',
        f'{1e3 * gradients:.1f}, {1e3 * norms:.1f}',
        f'{devices * BATCH / total:,.0f}',
        f'{100 * computing / total:.0f} %',
        constant_batch,
      ]
    )
  return markdown.table(heads, rows, first='---:')


def _network_table(nets: list[Network]) -> str:
  """Returns a Markdown table of what was counted in the networks."""
  heads = [
    'network',
    'forward, GFLOP',
    'activations, MB',
    'parameters',
    'batch norms',
    'all-reduced, MB',
  ]
  rows = [
    [
      net.name,
      f'{net.flops / 1e9:.2f}',
      f'{BYTES * net.activations / 1e6:.1f}',
      f'{net.parameters:,}',
      str(net.norms),
      f'{4 * net.parameters * TRAINED / 1e6:.0f}',
    ]
    for net in nets
  ]
  return markdown.table(heads, rows)


def _assumptions(machine: Machine) -> str:
  """Returns the heading of a machine and its assumptions in words."""
  return (
    f'## {machine.name}\n\nAssumptions: computation reaches '
    f'{machine.rate / 1e12:.0f} TFLOP/s (40 % of the peak rate of matrix '
    f'products in bfloat16) and {machine.memory / 1e12:.2f} TB/s of memory '
    f'bandwidth (80 % of the peak). {machine.inside} devices are linked with '
    f'{machine.fast / 1e9:.0f} GB/s in each direction, larger groups with '
    f'{machine.slow / 1e9:.0f} GB/s. A small all-reduce takes '
    f'{1e6 * machine.fast_latency:.0f} µs within these devices and '
    f'{1e6 * machine.slow_latency:.0f} µs beyond them.'
  )


def page() -> str:
  """Returns the page as Markdown."""
  nets = [network(name) for name in ('resnet18', 'wideresnet34x10')]
  parts = [
    '# Scaling, computed',
    '`python -m experiments.scaling experiments/scaling.md` writes this page. '
    'It estimates the cost of PeerAiD’s step and the number of devices from '
    'which it scales badly. **Only its last section is measured.**',
    f'The model: a step takes {PASSES} forward passes per image (ten attack '
    'steps of two each, the peer’s clean prediction, and three training passes '
    'of three each). A pass costs what its convolutions compute, or what they '
    'read and write in bfloat16, whichever takes longer; norms and activations '
    'are assumed to be fused into them. Then follow an all-reduce of the '
    'gradients of student and peer (float32, in a ring, limited by the slowest '
    'link) and two small all-reduces per batch norm and training pass, which '
    'cost only latency.',
    'The model assumes that nothing overlaps, that input costs nothing (the '
    'data set is on the device), and that a small batch per device is as '
    'efficient as a large one. Because of the last assumption, the last column '
    'is too optimistic.',
    _network_table(nets),
  ]
  for machine in MACHINES:
    parts.append(_assumptions(machine))
    for net in nets:
      parts.append(f'**{net.name}**\n\n{table(net, machine)}')
  parts.append(_measured())
  return '\n\n'.join(parts) + '\n'


def _measured() -> str:
  """Returns the section on the measured cost of a second process."""
  result = files.read_json(PROCESSES)
  apart, together = (
    result['measured'][name]
    for name in ('two_apart_over_one', 'two_together_over_two_apart')
  )
  rounds = len(result['measured']['seconds_per_step']['one'])
  return (
    '## Measured: one process and two\n\n'
    f'{result["network"]}; {result["images_per_process"]} images and '
    f'{result["cores_per_process"]} core per process; {result["device"]}; '
    f'commit {result["commit"][:8]}; medians of {rounds} rounds with the '
    'range. Two independent processes at the same time take '
    f'{markdown.ratio(apart)} times as long per step as one alone, because the '
    'cores share resources. Two processes of one run take '
    f'{markdown.ratio(together)} times as long as two independent ones. They '
    'communicate by gloo over TCP; we think that its threads take the core '
    'from the computation. So a small network on a CPU should run in one '
    'process. The measurement says nothing about GPUs and TPUs, where we have '
    'not measured.'
  )


def main(arguments: list[str]) -> None:
  """Prints the page, or writes it to the file that is named."""
  if arguments:
    files.write_text(arguments[0], page())
  else:
    print(page())


if __name__ == '__main__':
  main(sys.argv[1:])
