"""The interface of all networks: their fields, their call, their output."""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax.numpy as jnp

# Values of `Network.convolutions`.
CONVOLUTIONS = ('auto', 'stock', 'cpu')


class Output(NamedTuple):
  """A network's output for a batch of images.

  Attributes:
    logits: float32 [B, num_classes].
    features: [B, h, w, channels], the last feature map.
    embedding: float32 [B, channels], the spatial mean of `features`.
  """

  logits: chex.Array
  features: chex.Array
  embedding: chex.Array


class Network(nn.Module, kw_only=True):
  """Base class of the networks: the fields that all of them have.

  Parameters, running statistics and logits are float32 whatever the `dtype`.

  Attributes:
    num_classes: number of logits.
    width: base channels; 64 is the published network. ResNets have `width`
      channels in their first stage, the other families scale all their
      channels by width / 64.
    dtype: data type of the computation.
    axis_name: mapped axis over which batch statistics are averaged, or None.
    normalization: (mean, std), each a number or one per channel, applied to
      images in [0, 1]; or None.
    remat: keep only the inputs of blocks, and compute the inside of a block
      again for the gradient: less memory, more work.
    convolutions: how a convolution is computed. 'stock': by JAX's own
      operation. 'cpu': by the forms of `cpu_conv`, equal but for rounding and
      faster on CPUs. 'auto': 'cpu' if JAX's default backend is a CPU when the
      network is traced, else 'stock'. Programs that run on another machine,
      or whose operations are counted, need 'stock'.
  """

  num_classes: int
  width: int = 64
  dtype: Any = jnp.float32
  axis_name: str | None = None
  normalization: Any = None
  remat: bool = False
  convolutions: str = 'auto'

  def __call__(self, images: chex.Array, train: bool = False) -> Output:
    """Applies the network.

    Args:
      images: float32 [B, H, W, C] in [0, 1].
      train: normalise by the statistics of this batch, and update the running
        ones (collection 'batch_stats', which has to be mutable), instead of
        normalising by the running ones.
    """
    raise NotImplementedError


def check_convolutions(convolutions: str) -> None:
  """Checks a value of `Network.convolutions`.

  Raises:
    ValueError: not one of `CONVOLUTIONS`.
  """
  if convolutions not in CONVOLUTIONS:
    raise ValueError(
      f'{convolutions=} is unknown; known: {", ".join(CONVOLUTIONS)}'
    )


def standalone(
  module: nn.Module, *, dtype=None, convolutions: str | None = None
) -> nn.Module:
  """Returns a module that can be called outside of a mapped axis.

  Its parameters are those of the given module; only the name of the axis over
  which batch statistics are averaged is removed.

  Args:
    module: a `Network`, or a module with its fields.
    dtype: data type of the computation; None keeps the module's.
    convolutions: as in `Network`; None keeps the module's.

  Raises:
    ValueError: unknown `convolutions`.
  """
  changes = {'axis_name': None}
  if dtype is not None:
    changes['dtype'] = dtype
  if convolutions is not None:
    check_convolutions(convolutions)
    changes['convolutions'] = convolutions
  return module.clone(**changes)
