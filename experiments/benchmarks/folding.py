"""Batch norm in eval mode as a part of the convolution before it."""

import flax.linen as nn
import jax.numpy as jnp
from flax import traverse_util

from peeraid_jax import nets

_EPSILON = 1e-5
# Names of a convolution and of the batch norm that reads it. In
# pre-activation blocks another one does.
_PAIRS = {
  'stem_conv': 'stem_norm',
  'shortcut_conv': 'shortcut_norm',
  'conv1': 'norm1',
  'conv2': 'norm2',
  'conv3': 'norm3',
}
_PRE_ACTIVATION_PAIRS = {'conv1': 'norm2'}


def pairs(params) -> dict[tuple, tuple]:
  """Returns path of a convolution -> path of its batch norm."""
  paths = {path[:-1] for path in traverse_util.flatten_dict(params)}
  known = _PAIRS if ('stem_norm',) in paths else _PRE_ACTIVATION_PAIRS
  return {
    path: (*path[:-1], known[path[-1]])
    for path in paths
    if path[-1] in known and (*path[:-1], known[path[-1]]) in paths
  }


class Folded(nets.Net):
  """A network whose `eval` scales kernels instead of their results.

  Of ResNets all norms after convolutions; of WideResNets and pre-activation
  ones the second of each block.
  """

  @classmethod
  def of(cls, net: nets.Net) -> 'Folded':
    """Returns the same network, so computed."""
    return cls(net.params, net.batch_stats, net.module, net.temperature)

  def eval(self, images):
    """As of `nets.Net`."""
    params = traverse_util.flatten_dict(self.params)
    stats = traverse_util.flatten_dict(self.batch_stats)
    shifts = {}
    for conv, norm in pairs(self.params).items():
      scale = params[*norm, 'scale'] / jnp.sqrt(stats[*norm, 'var'] + _EPSILON)
      shifts[norm] = params[*norm, 'bias'] - stats[*norm, 'mean'] * scale
      params[*conv, 'kernel'] = (
        params[*conv, 'kernel'] * scale[None, None, None]
      )

    def shifted(call, args, kwargs, context):
      shift = shifts.get(context.module.path)
      if shift is None:
        return call(*args, **kwargs)
      return args[0] + shift.astype(context.module.dtype)[None, None, None]

    variables = {
      'params': traverse_util.unflatten_dict(params),
      'batch_stats': self.batch_stats,
    }
    with nn.intercept_methods(shifted):
      output = self.module.apply(variables, images, train=False)
    return self._cooled(output)
