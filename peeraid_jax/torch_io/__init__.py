"""Networks from PyTorch and to it.

    from peeraid_jax import torch_io

    net = torch_io.load('trades_wrn34_10.pt')
    net.eval(images).logits
    torch_io.save(net, 'student.safetensors')

Reading needs no PyTorch and runs nothing of a file; see `objects`. `families`
lists the networks that can be read and written.
"""

from peeraid_jax.torch_io import detect, layouts, reading, writing

Architecture = detect.Architecture
Imported = reading.Imported
check_normalization = reading.check_normalization
describe = writing.describe
load = reading.load
module = reading.module
read = reading.read
save = writing.save
to_net = reading.to_net
to_state_dict = writing.to_state_dict

__all__ = [
  'Architecture',
  'Imported',
  'check_normalization',
  'describe',
  'layouts',
  'load',
  'module',
  'read',
  'save',
  'to_net',
  'to_state_dict',
]
