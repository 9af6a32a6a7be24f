"""Writes a network of a run, and a model card beside it."""

import hashlib
import os
import pathlib

import jax.numpy as jnp
import numpy as np

from peeraid_jax import build, checkpoint, metrics, saved
from peeraid_jax import nets as nets_lib
from peeraid_jax.data import facts
from peeraid_jax.export import card, formats


def _check(net: nets_lib.Net, kind: str, path: pathlib.Path, images) -> float:
  """Compares a written file with the network, for two sizes of batch.

  Returns:
    The largest difference of a logit.

  Raises:
    ValueError: it is no rounding.
  """
  call = formats.FORMATS[kind].read(path, net)
  expected = nets_lib.predict(net, images)
  found = np.asarray(call(images))
  alone = np.asarray(call(images[:1]))
  largest = max(
    float(np.abs(found - expected).max()),
    float(np.abs(alone - expected[:1]).max()),
  )
  # Not written so that it passes for NaN.
  if not largest <= 1e-4 * max(1.0, float(np.abs(expected).max())):
    raise ValueError(
      f'the {kind} file computes other logits than the network: they differ by '
      f'up to {largest}. It was not kept'
    )
  return largest


def export(
  workdir,
  *,
  role: str = 'student',
  kind: str = 'stablehlo',
  output='',
  which: str = 'best',
  images: int = 64,
  data_dir: str = '',
) -> pathlib.Path:
  """Writes a network of a run, and a model card beside it.

  Args:
    workdir: of the run.
    role: 'student', 'student_swa', 'peer' or 'teacher'.
    kind: a key of `formats.FORMATS`.
    output: path of the file; by default in the work directory.
    which: 'best' or 'latest' checkpoint.
    images: how many test images the file is compared with the network on; 0
      compares on none.
    data_dir: where the data set is, if not where the run found it.

  Returns:
    The path of the file; the card is there with '.md' added.

  Raises:
    FileNotFoundError: no such run, checkpoint or data set.
    ValueError: an unknown role or format, or the file is not what the network
      is.
    ImportError: the format needs a library that is not installed.
  """
  if kind not in formats.FORMATS:
    raise ValueError(
      f'--format={kind} is unknown; known: {", ".join(formats.FORMATS)}'
    )
  made = formats.FORMATS[kind]
  made.check()
  config = checkpoint.read_config(workdir)
  config.eval.checkpoint = which
  restored, told = saved.restore(config, workdir)
  if role not in restored:
    raise ValueError(f'--role={role}: {workdir} has {", ".join(restored)}')
  net, source = restored[role]
  # What is written computes in float32.
  net = net.replace(module=net.module.clone(dtype=jnp.float32))
  shape = facts.of(config.data).shape
  examples = None
  if images:
    examples, _ = build.test_images(config, images, data_dir=data_dir)
  default = pathlib.Path(workdir) / f'{role}{made.suffix}'
  output = pathlib.Path(output or default)
  if not output.parent.is_dir():
    raise FileNotFoundError(f'--output={output}: there is no {output.parent}')
  # A file that did not pass, or was not finished, is not there.
  temporary = output.with_name(f'.{output.name}.tmp{made.suffix}')
  largest = None
  try:
    made.write(net, shape, temporary)
    if examples is not None:
      largest = _check(net, kind, temporary, examples)
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, output)
  finally:
    temporary.unlink(missing_ok=True)
  text = card.make(
    config,
    workdir,
    role=role,
    source=source,
    teachers=told,
    net=net,
    kind=kind,
    name=output.name,
    digest=digest,
    compared=(len(examples), largest) if examples is not None else None,
  )
  output.with_name(output.name + '.md').write_text(text)
  said = 'not compared with the network'
  if largest is not None:
    said = f'logits within {largest:.1e} of the network on {images} test images'
  metrics.say(f'{output}: {said}\n{output}.md: what it is')
  return output
