"""Exports a network of a run to a file, with a model card beside it."""

import hashlib
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from peeraid_jax import files
from peeraid_jax import nets as nets_lib
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import networks
from peeraid_jax.export import card, formats
from peeraid_jax.runtime import progress
from peeraid_jax.runtime import workdir as workdir_lib


def _compare(
  file_format: formats.Format, path: pathlib.Path, net: nets_lib.Net, images
) -> float:
  """Compares the logits of a file with those of its network.

  Two batch sizes are compared, all images and one image: a file must not have
  the batch size built in.

  Args:
    file_format: of the file.
    path: of the file.
    net: the network that was written to it.
    images: float32 [N, H, W, C] in [0, 1].

  Returns:
    The largest absolute difference of a logit.

  Raises:
    ValueError: the difference is larger than rounding explains.
  """
  call = file_format.read(path, net)
  expected = nets_lib.predict(net, images)
  difference = max(
    float(np.abs(np.asarray(call(images)) - expected).max()),
    float(np.abs(np.asarray(call(images[:1])) - expected[:1]).max()),
  )
  tolerance = 1e-4 * max(1.0, float(np.abs(expected).max()))
  # Not `difference > tolerance`, which is False for NaN.
  if not difference <= tolerance:
    raise ValueError(
      f'the {file_format.name} file computes other logits than the network: '
      f'they differ by up to {difference}. It was not kept'
    )
  return difference


def _output_path(
  output, workdir, role: str, file_format: formats.Format
) -> pathlib.Path:
  """Returns the path of the file; its folder has to exist."""
  default = pathlib.Path(workdir) / f'{role}{file_format.suffix}'
  path = pathlib.Path(output or default)
  if not path.parent.is_dir():
    raise FileNotFoundError(f'--output={path}: there is no {path.parent}')
  return path


def _restore(
  config, workdir, role: str, file_format: formats.Format
) -> tuple[nets_lib.Net, dict[str, Any], dict[str, Any]]:
  """Restores a network that a format can hold.

  Returns:
    (network that computes in float32, the checkpoint it comes from, role ->
    where a teacher comes from).
  """
  restored, teachers = networks.restore(config, workdir)
  if role not in restored:
    raise ValueError(f'--role={role}: {workdir} has {", ".join(restored)}')
  net, source = restored[role]
  file_format.check_network(net)
  # Files compute in float32, also those of networks trained in bfloat16.
  return nets_lib.standalone(net, dtype=jnp.float32), source, teachers


def _write(
  file_format: formats.Format,
  net: nets_lib.Net,
  path: pathlib.Path,
  shape,
  images,
) -> tuple[str, float | None]:
  """Writes a file, and keeps it only if it computes the network's logits.

  Args:
    file_format: of the file.
    net: the network.
    path: of the file.
    shape: [H, W, C] of an image.
    images: as of `_compare`; None skips the comparison.

  Returns:
    (SHA-256 of the file, result of `_compare` or None).
  """
  difference = None
  with files.replacing(path, suffix=f'.tmp{file_format.suffix}') as temporary:
    file_format.write(net, shape, temporary)
    if images is not None:
      difference = _compare(file_format, temporary, net, images)
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
  return digest, difference


def _say_done(path, card_path, images: int, difference: float | None) -> None:
  comparison = 'not compared with the network'
  if difference is not None:
    comparison = (
      f'logits within {difference:.1e} of the network on {images} test images'
    )
  progress.say(f'{path}: {comparison}\n{card_path}: model card')


def export(
  workdir,
  *,
  role: str = 'student',
  format_name: str = 'stablehlo',
  output='',
  which: str = 'best',
  images: int = 64,
  data_dir: str = '',
) -> pathlib.Path:
  """Writes a network of a run to a file, and a model card beside it.

  Args:
    workdir: of the run.
    role: 'student', 'student_swa', 'peer' or 'teacher'.
    format_name: a key of `formats.FORMATS`.
    output: path of the file; by default in the work directory.
    which: 'best' or 'latest' checkpoint.
    images: number of test images on which the file is compared with the
      network; 0 skips the comparison.
    data_dir: folder of the data set, if it has moved since the run.

  Returns:
    The path of the file. The card has the same path with '.md' added.

  Raises:
    FileNotFoundError: no such run, checkpoint, output folder or data set.
    ValueError: unknown role or format; the format cannot hold the network; or
      the file computes other logits.
    ImportError: the format needs a library that is not installed.
  """
  file_format = formats.get(format_name)
  file_format.check_libraries()
  config = workdir_lib.read_config(workdir)
  config.eval.checkpoint = which
  net, source, teachers = _restore(config, workdir, role, file_format)
  examples = None
  if images:
    examples, _, _ = dataset.test_images(config, images, data_dir=data_dir)
  path = _output_path(output, workdir, role, file_format)
  digest, difference = _write(
    file_format, net, path, dataset.facts_of(config.data).shape, examples
  )
  text = card.make(
    config,
    workdir,
    card.Exported(
      role=role,
      source=source,
      teachers=teachers,
      net=net,
      file_format=file_format,
      file_name=path.name,
      digest=digest,
      compared=0 if examples is None else len(examples),
      difference=difference,
      class_names=dataset.class_names(config.data, data_dir=data_dir),
    ),
  )
  card_path = path.with_name(f'{path.name}.md')
  files.write_text(card_path, text)
  _say_done(path, card_path, images, difference)
  return path
