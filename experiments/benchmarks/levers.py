"""What may make the step faster: how it is computed or compiled, not what.

Those that are flags of XLA's GPU compiler mean nothing elsewhere. Precision
and batch are settings of `step`, not levers.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from unittest import mock


def _folded(step, arguments):
  """Batch norm in eval mode, which is the attack's, folded into kernels."""
  from experiments.benchmarks import folding

  state, *rest = arguments
  nets = {role: folding.Folded.of(net) for role, net in state.nets.items()}
  return step, (state.replace(nets=nets), *rest)


def _remapped(step, arguments, *, donate=(0,), steps=1):
  """The step mapped anew, the state donated or not, several in a program."""
  import jax

  from peeraid_jax import parallel

  inner = step.__wrapped__

  def several(state, *rest):
    def body(state, _):
      return inner(state, *rest)

    state, values = jax.lax.scan(body, state, length=steps)
    return state, jax.tree.map(lambda v: v[-1], values)

  mapped = parallel.pmap(
    several if steps > 1 else inner,
    split=(False, True, False, False),
    out=False,
    donate=donate,
  )
  return mapped, arguments


def _unrolled():
  """Every scan written out while the step is traced: the attack's steps."""
  import jax

  scan = jax.lax.scan
  return mock.patch.object(
    jax.lax, 'scan', lambda *args, **kw: scan(*args, **{**kw, 'unroll': True})
  )


@dataclasses.dataclass(frozen=True)
class Lever:
  """A way to compute the step.

  Attributes:
    what: in words.
    flags: XLA's.
    steps: taken by one call.
    apply: (step, its arguments) -> other ones.
    tracing: the context that the step is traced in.
  """

  what: str
  flags: str = ''
  steps: int = 1
  apply: Callable = lambda step, arguments: (step, arguments)
  tracing: Callable = contextlib.nullcontext


NONE = Lever('as it is')
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
  'unrolled': Lever('loops written out', tracing=_unrolled),
  'no_command_buffers': Lever(
    'no command buffers (CUDA graphs)', '--xla_gpu_enable_command_buffer='
  ),
  'latency_hiding': Lever(
    'the scheduler that hides latency',
    '--xla_gpu_enable_latency_hiding_scheduler=true',
  ),
  'no_autotuning': Lever(
    'convolutions and products not tuned', '--xla_gpu_autotune_level=0'
  ),
  'no_triton': Lever(
    "products by cuBLAS, none by XLA's own code",
    '--xla_gpu_enable_triton_gemm=false',
  ),
}
