"""The file formats of an exported network, each with a writer and a reader.

StableHLO and ONNX files hold a program: they work for every network. PyTorch
and safetensors files hold parameters under the names that PyTorch's
repositories give them: they work for the networks of these.
"""

import contextlib
import functools
import importlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from peeraid_jax import nets, torch_io


class Format(NamedTuple):
  """A file format.

  Attributes:
    name: its key in `FORMATS`.
    suffix: of its files.
    libraries: that writing or reading it needs, and that this package does
      not install by default.
    extra: of this package that installs the libraries.
    write: (network, [H, W, C] of an image, path) -> None.
    read: (path, network) -> (images float32 [N, H, W, C] in [0, 1] -> logits
      [N, num_classes]).
    usage: Python code that uses a file; '{name!r}' stands for the file's name.
    images: which images a file takes, for the model card; '{architecture}'
      stands for that of the network, and one of '{normalization}' and
      '{inside}' for its normalization, which is done before the file is used,
      or by the file.
    needs_torch_layout: files hold parameters under their names in PyTorch.
  """

  name: str
  suffix: str
  libraries: tuple[str, ...]
  extra: str
  write: Callable[[nets.Net, tuple[int, ...], pathlib.Path], None]
  read: Callable[[pathlib.Path, nets.Net], Callable]
  usage: str
  images: str
  needs_torch_layout: bool

  def check_libraries(self) -> None:
    """Checks that the libraries are installed.

    Raises:
      ImportError: one is not; says what to install.
    """
    for library in self.libraries:
      try:
        importlib.import_module(library)
      except ImportError:
        raise ImportError(
          f'--format={self.name} needs {library}: pip install '
          f"'peeraid_jax[{self.extra}]'"
        ) from None

  def check_network(self, net: nets.Net) -> None:
    """Checks that the format can hold a network, without computing anything.

    Raises:
      ValueError: the format needs names in PyTorch, and PyTorch's repositories
        have no such network.
    """
    if self.needs_torch_layout:
      torch_io.describe(net)


def _float32(net: nets.Net) -> Callable:
  """Returns images -> logits, in eval mode and float32, for any machine.

  The program has JAX's own convolutions, not the forms for this machine's CPU.
  """
  return nets.logits_fn(net, dtype=jnp.float32, convolutions='stock')


def _write_stablehlo(net, shape, path) -> None:
  (batch,) = jax.export.symbolic_shape('batch')
  images = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
  with _without_source_files():
    exported = jax.export.export(
      jax.jit(_float32(net)),
      platforms=('cpu', 'cuda', 'tpu'),
    )(images)
  path.write_bytes(exported.serialize())


@contextlib.contextmanager
def _without_source_files():
  """Keeps the paths of Python files out of programs that are lowered."""
  name = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, before)


def _read_stablehlo(path, net):
  del net
  exported = jax.export.deserialize(bytearray(path.read_bytes()))
  return jax.jit(exported.call)


# Of ONNX 1.16; onnxruntime 1.18 and later read it.
_OPSET = 21


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
  # jax2onnx moves transpositions without updating the shapes of intermediate
  # arrays. Without these shapes, readers infer the right ones.
  del model.graph.value_info[:]
  onnx.checker.check_model(model, full_check=True)
  onnx.save(model, path)


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
  # PyTorch's own format does not hold the normalization.
  normalization = torch_io.describe(net)['normalization']
  loaded = torch_io.load(path, normalization=normalization)
  return functools.partial(nets.predict, loaded)


_TORCH_IMAGES = (
  'float32 [N, C, H, W] in [0, 1]{normalization}, for a network with the '
  "layers' names of {architecture} in the field's repositories"
)

_FORMATS = (
  Format(
    name='stablehlo',
    suffix='.stablehlo',
    libraries=(),
    extra='',
    write=_write_stablehlo,
    read=_read_stablehlo,
    usage="""from jax import export

network = export.deserialize(bytearray(open({name!r}, 'rb').read()))
logits = network.call(images)""",
    images='float32 [N, H, W, C] in [0, 1]{inside}; any N; on CPU, CUDA and '
    'TPU',
    needs_torch_layout=False,
  ),
  Format(
    name='onnx',
    suffix='.onnx',
    libraries=('jax2onnx', 'onnxruntime'),
    extra='onnx',
    write=_write_onnx,
    read=_read_onnx,
    usage="""import onnxruntime

session = onnxruntime.InferenceSession({name!r})
(logits,) = session.run(['logits'], {{'images': images}})""",
    images='float32 [N, H, W, C] in [0, 1]{inside}; any N',
    needs_torch_layout=False,
  ),
  Format(
    name='safetensors',
    suffix='.safetensors',
    libraries=(),
    extra='',
    write=_write_torch,
    read=_read_torch,
    usage="""from safetensors.torch import load_file

model.load_state_dict(load_file({name!r}))""",
    images=_TORCH_IMAGES,
    needs_torch_layout=True,
  ),
  Format(
    name='torch',
    suffix='.pt',
    libraries=('torch',),
    extra='torch',
    write=_write_torch,
    read=_read_torch,
    usage="""import torch

model.load_state_dict(torch.load({name!r}, weights_only=True))""",
    images=_TORCH_IMAGES,
    needs_torch_layout=True,
  ),
)

FORMATS = {file_format.name: file_format for file_format in _FORMATS}
"""Name -> format."""


def get(name: str) -> Format:
  """Returns a format by its name.

  Raises:
    ValueError: unknown name; lists the known ones.
  """
  if name not in FORMATS:
    raise ValueError(f'--format={name} is unknown; known: {", ".join(FORMATS)}')
  return FORMATS[name]
