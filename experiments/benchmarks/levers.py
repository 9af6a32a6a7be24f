"""Variants of the step that compute the same, but may run faster.

A lever changes how the step is computed or compiled. Precision and batch size
are not levers: they are settings of the benchmark `step`. Levers with XLA
flags concern the GPU compiler only.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from unittest import mock


def _folded(step, arguments):
  """Folds batch norm into kernels where a network runs in eval mode.

  That is the case in the attack.
  """
  from experiments.benchmarks import folding

  state, *rest = arguments
  nets = {role: folding.Folded.of(net) for role, net in state.nets.items()}
  return step, (state.replace(nets=nets), *rest)


def _remapped(step, arguments, *, donate=(0,), steps=1):
  """Maps the step over the devices anew.

  Args:
    step: from `step.map_train_step`.
    arguments: the arguments of the step.
    donate: positions of the arguments whose buffers the output may reuse.
    steps: training steps of one call.
  """
  import jax

  from peeraid_jax.runtime import parallel

  one_step = step.__wrapped__

  def several_steps(state, *rest):
    def body(state, _):
      return one_step(state, *rest)

    state, values = jax.lax.scan(body, state, length=steps)
    return state, jax.tree.map(lambda v: v[-1], values)

  mapped = parallel.pmap(
    several_steps if steps > 1 else one_step,
    split=(False, True, False, False),
    out=False,
    donate=donate,
  )
  return mapped, arguments


def _unrolled():
  """Returns a context in which every scan is unrolled, the attack's too."""
  import jax

  scan = jax.lax.scan
  return mock.patch.object(
    jax.lax, 'scan', lambda *args, **kw: scan(*args, **{**kw, 'unroll': True})
  )


@dataclasses.dataclass(frozen=True)
class Lever:
  """A way to compute the step.

  Attributes:
    what: description for the page.
    flags: XLA flags.
    steps: training steps of one call.
    apply: (step, its arguments) -> (changed step, changed arguments).
    tracing: makes the context in which the step is traced.
  """

  what: str
  flags: str = ''
  steps: int = 1
  apply: Callable = lambda step, arguments: (step, arguments)
  tracing: Callable = contextlib.nullcontext


NONE = Lever('unchanged')
LEVERS = {
  'folded': Lever("batch norm folded into the attack's kernels", apply=_folded),
  'not_donated': Lever(
    'the state not donated', apply=functools.partial(_remapped, donate=())
  ),
  'four_steps': Lever(
    'four steps in one program, by a scan',
    steps=4,
    apply=functools.partial(_remapped, steps=4),
  ),
  'unrolled': Lever('loops unrolled', tracing=_unrolled),
  'no_command_buffers': Lever(
    'no command buffers (CUDA graphs)', '--xla_gpu_enable_command_buffer='
  ),
  'latency_hiding': Lever(
    'the scheduler that hides latency',
    '--xla_gpu_enable_latency_hiding_scheduler=true',
  ),
  'no_autotuning': Lever(
    'no autotuning of convolutions and products', '--xla_gpu_autotune_level=0'
  ),
  'no_triton': Lever(
    "products by cuBLAS, none by XLA's Triton kernels",
    '--xla_gpu_enable_triton_gemm=false',
  ),
}
