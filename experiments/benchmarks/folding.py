"""Folds batch norm in eval mode into the kernel of the convolution before it.

One of the levers (`levers.py`): it saves passes over the feature maps.
"""

import flax.linen as nn
import jax.numpy as jnp
from flax import traverse_util

from peeraid_jax import nets

_EPSILON = 1e-5  # of the networks' batch norm
# Convolution -> the batch norm that reads its output, in ResNets.
_NORM_AFTER = {
  'stem_conv': 'stem_norm',
  'shortcut_conv': 'shortcut_norm',
  'conv1': 'norm1',
  'conv2': 'norm2',
  'conv3': 'norm3',
}
# The same in pre-activation blocks.
_PRE_ACTIVATION_NORM_AFTER = {'conv1': 'norm2'}


def pairs(params) -> dict[tuple, tuple]:
  """Returns path of a convolution -> path of the batch norm after it."""
  paths = {path[:-1] for path in traverse_util.flatten_dict(params)}
  norm_after = (
    _NORM_AFTER if ('stem_norm',) in paths else _PRE_ACTIVATION_NORM_AFTER
  )
  return {
    path: (*path[:-1], norm_after[path[-1]])
    for path in paths
    if path[-1] in norm_after and (*path[:-1], norm_after[path[-1]]) in paths
  }


class Folded(nets.Net):
  """A network whose `eval` scales kernels instead of feature maps.

  Folds every norm that follows a convolution directly: all norms of ResNets,
  the second norm of each block of WideResNets and pre-activation ResNets.
  """

  @classmethod
  def of(cls, net: nets.Net) -> 'Folded':
    """Returns a folded version of a network, with the same variables."""
    return cls(net.params, net.batch_stats, net.module, net.temperature)

  def eval(self, images):
    """Computes the network in eval mode; see `nets.Net.eval`."""
    params = traverse_util.flatten_dict(self.params)
    stats = traverse_util.flatten_dict(self.batch_stats)
    shifts = {}
    for conv, norm in pairs(self.params).items():
      scale = params[*norm, 'scale'] / jnp.sqrt(stats[*norm, 'var'] + _EPSILON)
      shifts[norm] = params[*norm, 'bias'] - stats[*norm, 'mean'] * scale
      params[*conv, 'kernel'] = (
        params[*conv, 'kernel'] * scale[None, None, None]
      )

    def shift_only(call, args, kwargs, context):
      """Replaces a folded norm by the addition of its shift."""
      shift = shifts.get(context.module.path)
      if shift is None:
        return call(*args, **kwargs)
      return args[0] + shift.astype(context.module.dtype)[None, None, None]

    variables = {
      'params': traverse_util.unflatten_dict(params),
      'batch_stats': self.batch_stats,
    }
    with nn.intercept_methods(shift_only):
      output = self.module.apply(variables, images, train=False)
    return self._cooled(output)
