"""FLOPs and bytes of a program, in its convolutions and matrix products.

As papers count: two per multiply-add, the zeros of a padding included, those
between the rows of a strided convolution's gradient not, and nothing for what
is done element by element.
"""

import math
from typing import Any

import jax
from jax.interpreters import partial_eval as pe

from peeraid_jax.models import layers


def _convolution(eqn) -> float:
  out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
  numbers = eqn.params['dimension_numbers'].rhs_spec
  # Per output value: input channels of a group times the kernel's places, of
  # which a dilated input leaves a part.
  inside = math.prod(kernel) // kernel[numbers[0]]
  return 2.0 * math.prod(out) * inside / math.prod(eqn.params['lhs_dilation'])


def _product(eqn) -> float:
  (contracted, _), _ = eqn.params['dimension_numbers']
  left = eqn.invars[0].aval.shape
  inside = math.prod(left[axis] for axis in contracted)
  return 2.0 * math.prod(eqn.outvars[0].aval.shape) * inside


_COUNTED = {'conv_general_dilated': _convolution, 'dot_general': _product}


def _activations(eqn) -> float:
  """Values that enter and leave, without the kernel."""
  shapes = (eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape)
  return float(sum(map(math.prod, shapes)))


_ACTIVATIONS = dict.fromkeys(_COUNTED, _activations)


def _inside(value: Any):
  """Yields the programs in an equation's parameter."""
  if hasattr(value, 'eqns'):
    yield value
  elif hasattr(value, 'jaxpr'):
    yield from _inside(value.jaxpr)
  elif isinstance(value, tuple | list):
    for item in value:
      yield from _inside(item)


def _count(program, costs) -> float:
  total = 0.0
  for eqn in program.eqns:
    name = eqn.primitive.name
    if name in costs:
      total += costs[name](eqn)
      continue
    times = eqn.params.get('length', 1) if name == 'scan' else 1
    for value in eqn.params.values():
      total += times * sum(_count(inner, costs) for inner in _inside(value))
  return total


def count(function, *arguments) -> float:
  """Returns the FLOPs of a call; a while loop's body counts once.

  Args:
    function: traceable by JAX.
    *arguments: arrays, or their shapes.
  """
  return _count(_needed(function, *arguments), _COUNTED)


def activations(function, *arguments) -> float:
  """Returns how many values convolutions and products read and write.

  Kernels are not among them. Arguments are those of `count`.
  """
  return _count(_needed(function, *arguments), _ACTIVATIONS)


def _needed(function, *arguments):
  with layers.stock_convolutions():
    # A function of its own: JAX remembers how it traced another one.
    program = jax.make_jaxpr(lambda *a: function(*a))(*arguments).jaxpr
  # Without the weight gradients of an attack, which the compiler drops.
  needed, _ = pe.dce_jaxpr(program, [True] * len(program.outvars))
  return needed
