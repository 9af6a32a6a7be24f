"""Counts FLOPs and activations of a program's convolutions and products.

Follows the convention of papers. A multiply-add counts as two FLOPs. Padding
zeros count; the zeros that a strided convolution's gradient puts between rows
do not. Element-wise work counts nothing.
"""

import math
from typing import Any

import jax
from jax.interpreters import partial_eval as pe

from peeraid_jax import nets


def _convolution_flops(eqn) -> float:
  """FLOPs of a convolution's equation."""
  out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
  numbers = eqn.params['dimension_numbers'].rhs_spec
  # An output value sums over the kernel's positions and the input channels of
  # its group. In a dilated input only one position in `dilation` is not zero.
  terms = math.prod(kernel) // kernel[numbers[0]]
  return 2.0 * math.prod(out) * terms / math.prod(eqn.params['lhs_dilation'])


def _product_flops(eqn) -> float:
  """FLOPs of a matrix product's equation."""
  (contracted, _), _ = eqn.params['dimension_numbers']
  left = eqn.invars[0].aval.shape
  terms = math.prod(left[axis] for axis in contracted)
  return 2.0 * math.prod(eqn.outvars[0].aval.shape) * terms


_FLOPS = {
  'conv_general_dilated': _convolution_flops,
  'dot_general': _product_flops,
}


def _activations(eqn) -> float:
  """Number of values in an equation's first input and its output."""
  shapes = (eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape)
  return float(sum(map(math.prod, shapes)))


_ACTIVATIONS = dict.fromkeys(_FLOPS, _activations)


def _subprograms(parameter: Any):
  """Yields the programs inside an equation's parameter."""
  if hasattr(parameter, 'eqns'):
    yield parameter
  elif hasattr(parameter, 'jaxpr'):
    yield from _subprograms(parameter.jaxpr)
  elif isinstance(parameter, tuple | list):
    for item in parameter:
      yield from _subprograms(item)


def _sum_costs(program, costs) -> float:
  """Sums `costs` (primitive's name -> function of equation) over a program."""
  total = 0.0
  for eqn in program.eqns:
    name = eqn.primitive.name
    if name in costs:
      total += costs[name](eqn)
      continue
    times = eqn.params.get('length', 1) if name == 'scan' else 1
    for parameter in eqn.params.values():
      total += times * sum(
        _sum_costs(inner, costs) for inner in _subprograms(parameter)
      )
  return total


def count(function, *arguments) -> float:
  """Returns the FLOPs of a call; the body of a while loop counts once.

  Args:
    function: traceable by JAX. A network that it calls, and that is not among
      the arguments, needs convolutions='stock'.
    *arguments: pytrees of arrays or their shapes, and of `nets.Net`, which are
      counted with stock convolutions.
  """
  return _sum_costs(_traced(function, *arguments), _FLOPS)


def activations(function, *arguments) -> float:
  """Returns how many values convolutions and products read and write.

  Kernels do not count. The arguments are those of `count`.
  """
  return _sum_costs(_traced(function, *arguments), _ACTIVATIONS)


def _with_stock_convolutions(leaf):
  """Returns a net whose convolutions can be counted; other leaves unchanged."""
  if not isinstance(leaf, nets.Net):
    return leaf
  return leaf.replace(module=leaf.module.clone(convolutions='stock'))


def _traced(function, *arguments):
  """Returns the program of a call without unused parts."""
  arguments = jax.tree.map(
    _with_stock_convolutions,
    arguments,
    is_leaf=lambda leaf: isinstance(leaf, nets.Net),
  )
  program = jax.make_jaxpr(function)(*arguments).jaxpr
  # The compiler drops unused results, such as an attack's weight gradients.
  needed, _ = pe.dce_jaxpr(program, [True] * len(program.outvars))
  return needed
