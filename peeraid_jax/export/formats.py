"""The formats that a network is written in, each with its reader."""

import functools
import importlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import nets, torch_io
from peeraid_jax.models import layers


class Format(NamedTuple):
  """One format.

  Attributes:
    suffix: of its files.
    libraries: that are needed, and are an extra of this package.
    write: (net, shape of an image, path) -> None.
    read: (path, net) -> (images [N, H, W, C] in [0, 1] -> logits).
    usage: how it is used in Python, with '{name}' for the file.
    images: what it takes.
  """

  suffix: str
  libraries: tuple[str, ...]
  write: Callable[[nets.Net, tuple[int, ...], pathlib.Path], None]
  read: Callable[[pathlib.Path, nets.Net], Callable]
  usage: str
  images: str

  def check(self) -> None:
    """Checks that the libraries are installed.

    Raises:
      ImportError: one is not; says what to install.
    """
    for library in self.libraries:
      try:
        importlib.import_module(library)
      except ImportError:
        extra = 'torch' if library == 'torch' else 'onnx'
        raise ImportError(
          f"this format needs {library}: pip install 'peeraid_jax[{extra}]'"
        ) from None


def _float32(net: nets.Net):
  """A network in eval mode that computes in float32, for any machine."""
  apply = nets.logits_fn(net, dtype=jnp.float32)

  def logits_fn(images):
    with layers.stock_convolutions():
      return apply(images)

  return logits_fn


def _write_stablehlo(net, shape, path) -> None:
  (batch,) = jax.export.symbolic_shape('batch')
  images = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
  exported = jax.export.export(
    jax.jit(_float32(net)),
    platforms=('cpu', 'cuda', 'tpu'),
  )(images)
  path.write_bytes(exported.serialize())


def _read_stablehlo(path, net):
  del net
  exported = jax.export.deserialize(bytearray(path.read_bytes()))
  return jax.jit(exported.call)


def _write_onnx(net, shape, path) -> None:
  import onnx
  from jax2onnx import to_onnx

  model = to_onnx(
    _float32(net),
    [('batch', *shape)],
    model_name='peeraid_jax',
    opset=_OPSET,
    input_names=['images'],
    output_names=['logits'],
  )
  # It moves transpositions and leaves the shapes from before that; whoever
  # loads the file infers them anew.
  del model.graph.value_info[:]
  onnx.checker.check_model(model, full_check=True)
  onnx.save(model, path)


# ONNX 1.16, read by onnxruntime 1.18 and later.
_OPSET = 21


def _read_onnx(path, net):
  del net
  import onnxruntime

  session = onnxruntime.InferenceSession(
    path.read_bytes(), providers=['CPUExecutionProvider']
  )
  return lambda images: session.run(
    ['logits'], {'images': np.asarray(images, np.float32)}
  )[0]


def _write_torch(net, shape, path) -> None:
  del shape
  torch_io.save(net, path)


def _read_torch(path, net):
  # A state dict does not say what is done to images before.
  normalization = torch_io.describe(net)['normalization']
  found = torch_io.load(path, normalization=normalization)
  return functools.partial(nets.predict, found)


_TORCH_IMAGES = (
  'float32 [N, C, H, W] in [0, 1]{normalization}, for a network with the '
  "layers' names of {architecture} in the field's repositories"
)

FORMATS = {
  'stablehlo': Format(
    '.stablehlo',
    (),
    _write_stablehlo,
    _read_stablehlo,
    """from jax import export

network = export.deserialize(bytearray(open('{name}', 'rb').read()))
logits = network.call(images)""",
    'float32 [N, H, W, C] in [0, 1]; any N; on CPU, CUDA and TPU',
  ),
  'onnx': Format(
    '.onnx',
    ('jax2onnx', 'onnxruntime'),
    _write_onnx,
    _read_onnx,
    """import onnxruntime

session = onnxruntime.InferenceSession('{name}')
(logits,) = session.run(['logits'], {{'images': images}})""",
    'float32 [N, H, W, C] in [0, 1]; any N',
  ),
  'safetensors': Format(
    '.safetensors',
    (),
    _write_torch,
    _read_torch,
    """from safetensors.torch import load_file

model.load_state_dict(load_file('{name}'))""",
    _TORCH_IMAGES,
  ),
  'torch': Format(
    '.pt',
    ('torch',),
    _write_torch,
    _read_torch,
    """import torch

model.load_state_dict(torch.load('{name}', weights_only=True))""",
    _TORCH_IMAGES,
  ),
}
"""Name -> format."""
