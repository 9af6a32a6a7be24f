"""Networks with their variables, as methods and attacks call them.

In a notebook:

    state = peeraid_jax.checkpoint.restore('runs/digits', which='best')
    logits = peeraid_jax.nets.predict(state.nets['student'], images)
"""

import functools
from typing import Any

import chex
import flax.errors
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import checks, models
from peeraid_jax import images as images_lib
from peeraid_jax.models import layers


# Jitted so that a program that calls a network several times traces it once.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(module, train: bool, variables, images):
  mutable = ['batch_stats'] if train else False
  return module.apply(variables, images, train=train, mutable=mutable)


class Net(flax.struct.PyTreeNode):
  """A network: variables as a pytree, its module as a static part.

  Attributes:
    params: trained parameters, float32.
    batch_stats: running statistics of batch norm, float32; {} without any.
    module: the Flax module, from `models.create`.
    temperature: divides the logits, in training and in inference (LTD).
    shape: (H, W, C) of the images that it was created for, which `logits_fn`
      and `predict` then insist on; None if that is not known.
  """

  params: Any
  batch_stats: Any
  module: nn.Module = flax.struct.field(pytree_node=False)
  temperature: float = flax.struct.field(pytree_node=False, default=1.0)
  shape: tuple[int | None, ...] | None = flax.struct.field(
    pytree_node=False, default=None
  )

  def _variables(self):
    """Variables as Flax takes them."""
    return {'params': self.params, 'batch_stats': self.batch_stats}

  def _cooled(self, output: models.Output) -> models.Output:
    """Divides the logits of an output by the temperature."""
    if self.temperature == 1:
      return output
    return output._replace(logits=output.logits / self.temperature)

  def _check(self, images) -> None:
    """Checks type, rank and channels of images, but not their values.

    An attack may look at points just outside of [0, 1], and a teacher may have
    been created for images of another size.
    """
    channels = self.shape[2] if self.shape else None
    images_lib.check_shape(images, (None, None, channels))

  def eval(self, images: chex.Array) -> models.Output:
    """Applies the network with running statistics.

    Args:
      images: float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: images of another type, rank or number of channels.
    """
    self._check(images)
    output = _apply(self.module, False, self._variables(), images)
    return self._cooled(output)

  def train(
    self, images: chex.Array, *, updates: int = 1
  ) -> tuple[models.Output, 'Net']:
    """Applies the network with the statistics of this batch.

    Args:
      images: float32 [B, H, W, C] in [0, 1].
      updates: how often the running statistics are updated by this batch, as
        if it were passed that often: with momentum m = 0.9, k updates keep
        m^k of the old value.

    Returns:
      (output, the net with its new running statistics). The statistics carry
      no gradient.

    Raises:
      ValueError: as of `eval`.
    """
    self._check(images)
    output, changed = _apply(self.module, True, self._variables(), images)
    # With momentum m, each update closes the share 1 - m of the remaining gap
    # between the running statistics and the batch's. `changed` has one update,
    # so k updates go (1 - m^k) / (1 - m) times as far.
    momentum = layers.BATCH_NORM_MOMENTUM
    share = (1 - momentum**updates) / (1 - momentum)
    once = changed.get('batch_stats', self.batch_stats)
    stats = once
    if updates != 1:
      stats = jax.tree.map(
        lambda old, new: old + share * (new - old), self.batch_stats, once
      )
    moved = self.replace(batch_stats=jax.lax.stop_gradient(stats))
    return self._cooled(output), moved

  def take_in_again(self, before: 'Net', after: 'Net') -> 'Net':
    """Updates the running statistics by a batch that was passed before.

    Equals another `train` of that batch with unchanged parameters, without
    its cost: a batch's statistics do not depend on the running ones, and are
    recovered from the earlier update.

    Args:
      before: the net on which `train` was called with the batch.
      after: the net that this `train` returned, after one update.

    Returns:
      This net with its new running statistics.
    """
    momentum = layers.BATCH_NORM_MOMENTUM
    stats = jax.tree.map(
      lambda now, old, new: momentum * now + (new - momentum * old),
      self.batch_stats,
      before.batch_stats,
      after.batch_stats,
    )
    return self.replace(batch_stats=stats)


# Initialisation runs once, so XLA optimisation costs more than it saves.
_COMPILE_FAST = {'xla_backend_optimization_level': 1}


@functools.partial(jax.jit, static_argnums=0, compiler_options=_COMPILE_FAST)
def _init(module, key, images):
  return module.init(key, images)


def create(
  module: nn.Module, key: chex.PRNGKey, shape, *, temperature: float = 1.0
) -> Net:
  """Initialises a network.

  Args:
    module: from `models.create`.
    key: for the initial parameters.
    shape: [H, W, C] of an image.
    temperature: divides the logits.
  """
  images = jnp.zeros((1, *shape))
  # Inside `jax.eval_shape` nothing is compiled, and JAX refuses compiler
  # options.
  traced = isinstance(images, jax.core.Tracer)
  init = type(module).init if traced else _init
  variables = init(module, key, images)
  stats = variables.get('batch_stats', {})
  return Net(variables['params'], stats, module, temperature, tuple(shape))


def count_params(net: Net) -> int:
  """Returns the number of trained scalars."""
  return sum(p.size for p in jax.tree.leaves(net.params))


def _logits(net, images):
  images_lib.check_shape(images, net.shape)
  return net.eval(images).logits


def standalone(net: Net, *, dtype=None, convolutions: str | None = None) -> Net:
  """Returns a net that can be called outside of a mapped axis.

  The nets of a training step average their batch statistics over the devices'
  axis. Outside of the step that axis does not exist, and `train` would fail.

  Args:
    net: with or without an axis.
    dtype: of the computation; None keeps the net's.
    convolutions: as in `models.Network`; None keeps the net's.

  Raises:
    ValueError: unknown `convolutions`.
  """
  module = models.standalone(net.module, dtype=dtype, convolutions=convolutions)
  return net.replace(module=module)


def logits_fn(
  net: Net, *, dtype=None, convolutions: str | None = None
) -> jax.tree_util.Partial:
  """Returns a net as attacks take it: images -> logits, in eval mode.

  The result is a pytree, so compiled programs take it as an argument: nets of
  one architecture share the program, and their parameters are no constants in
  it.

  Args:
    net, dtype, convolutions: as in `standalone`.

  Raises:
    ValueError: unknown `convolutions`. The returned function also raises it:
      images are not floats of the network's shape.
  """
  net = standalone(net, dtype=dtype, convolutions=convolutions)
  return jax.tree_util.Partial(_logits, net)


_jitted_logits = jax.jit(_logits)


def predict(net: Net, images, *, batch_size: int = 256) -> np.ndarray:
  """Returns the logits of any number of images.

  Args:
    net: a restored or trained network.
    images: [N, H, W, C]; uint8 in [0, 255], or floats in [0, 1].
    batch_size: images per call of the compiled program; the last call is
      padded with zeros.

  Returns:
    float32 [N, num_classes].

  Raises:
    ValueError: not a batch of images in [0, 1], or images of another shape
      than the network was created for.
  """
  size = checks.whole('batch_size', batch_size)
  images = images_lib.as_floats(images)
  images_lib.check(images, shape=net.shape, may_be_empty=True)
  count = len(images)
  size = min(size, max(count, 1))
  padding = -count % size
  padded = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
  try:
    logits = [
      np.asarray(_jitted_logits(net, padded[start : start + size]))
      for start in range(0, len(padded), size)
    ]
  except flax.errors.ScopeParamShapeError as error:
    raise ValueError(
      f'images of shape {images.shape[1:]} do not fit the network: {error}'
    ) from None
  if not logits:
    return np.zeros((0, net.module.num_classes), np.float32)
  return np.concatenate(logits)[:count]
