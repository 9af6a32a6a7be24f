"""Images per second that the host reads, against what a device needs.

python -m experiments.benchmarks.input --zip=tiny-imagenet-200.zip

TinyImageNet as it is streamed (64x64, prepared), and photographs of ImageNet's
usual size (500x375 JPEGs, made from scikit-learn's two) with random resized
crops of 224x224; with 1, 2, 4, ... threads. And a training run on the former:
how long its steps wait for their batch. What was measured goes to
experiments/results/benchmarks/input.json.
"""

import pathlib
import statistics
import tempfile
import time

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from experiments import scaling
from experiments.benchmarks import filed, flops
from peeraid_jax import build, data, models, train
from peeraid_jax.data import folder, stored

_ZIP = flags.DEFINE_string('zip', None, 'tiny-imagenet-200.zip', required=True)
_SECONDS = flags.DEFINE_float('seconds', 5.0, 'of each measurement')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'of each')
_THREADS = flags.DEFINE_list('threads', ['1', '2', '4', '16'], 'to try')
_OUT = flags.DEFINE_string('out', filed.default('input'), 'the result')

BATCH = 128


def rate(images: data.Stored, crop: stored.Crop | None) -> float:
  """Returns images per second, after the first batches."""
  rng = np.random.default_rng(0)
  rows = rng.integers(0, len(images), (10_000, BATCH))
  read = images.batches(rows, crop=crop)
  next(read)
  begun, count = time.perf_counter(), 0
  while time.perf_counter() - begun < _SECONDS.value:
    next(read)
    count += 1
  seconds = time.perf_counter() - begun
  read.close()
  return count * BATCH / seconds


def rates(make, crop: stored.Crop | None) -> dict:
  """Returns threads -> images per second, measured in turns."""
  found = {int(threads): [] for threads in _THREADS.value}
  for _ in range(_ROUNDS.value):
    for threads, values in found.items():
      values.append(rate(make(threads), crop))
  return found


def photographs(where: pathlib.Path) -> stored.Source:
  """500x375 JPEGs of quality 90: parts of scikit-learn's photographs."""
  from sklearn import datasets

  rng = np.random.default_rng(0)
  paths = []
  for number, whole in enumerate(datasets.load_sample_images().images * 16):
    top, left = (
      int(rng.integers(0, side - part + 1))
      for side, part in zip(whole.shape, (375, 500), strict=False)
    )
    path = where / f'{number}.jpg'
    image = Image.fromarray(whole[top : top + 375, left : left + 500])
    image.save(path, quality=90)
    paths.append(path)
  return folder.Files(paths)


def needed() -> dict:
  """Images per second of PeerAiD's step, ResNet-18 at 64x64, computed."""
  module = models.create('resnet18', num_classes=200)
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), images)
  forward = flops.count(
    lambda v, x: module.apply(v, x).logits, variables, images
  )
  return {
    machine.name: machine.rate / (scaling.PASSES * forward)
    for machine in scaling.MACHINES
  }


def waiting(data_dir: str) -> dict:
  """Trains a narrow ResNet-18 for some steps; how long do they wait?"""
  from configs import tinyimagenet

  config = tinyimagenet.get_config()
  config.model.width = 8
  config.attack.steps = 1
  config.data.dir, config.data.stream = data_dir, True
  config.train.batch_size = BATCH
  splits = build.splits(config)
  with tempfile.TemporaryDirectory() as workdir:
    state, _ = train.initial_state(config, workdir)
    trainer = train._Trainer(config, workdir, splits.train, None)
    feed = trainer.feed(0, 0)
    waits, steps = [], []
    for _ in range(12):
      begun = time.perf_counter()
      batch = next(feed)
      waited = time.perf_counter() - begun
      state, values = trainer.step_fn(
        state, batch, trainer.resident, trainer.train_key
      )
      jax.block_until_ready(values)
      waits.append(waited)
      steps.append(time.perf_counter() - begun)
    feed.close()
  # The first ones compile, and fill what is read ahead.
  share = sum(waits[3:]) / sum(steps[3:])
  return {
    'network': 'resnet18 of width 8, one attack step, 64x64',
    'images_per_second': BATCH / statistics.mean(steps[3:]),
    'share_of_time_waiting': share,
  }


def main(argv) -> None:
  """Measures, prints and files."""
  del argv
  with tempfile.TemporaryDirectory() as where:
    load = lambda threads: data.load(
      'tinyimagenet',
      split='train',
      data_dir=where,
      source=_ZIP.value,
      stream=True,
      threads=threads,
    )
    load(1)
    tiny = rates(lambda threads: load(threads).images, None)
    source = photographs(pathlib.Path(where))
    make = lambda threads: data.Stored(
      source, np.arange(32), 224, threads=threads
    )
    imagenet = rates(make, stored.Crop((0.08, 1.0), (0, 0)))
    waited = waiting(where)
  measured = {
    'tinyimagenet_64': tiny,
    'photographs_500x375_to_224': imagenet,
    'training': waited,
  }
  print(measured)
  filed.write(
    _OUT.value,
    {
      'what': 'images per second that the host decodes, crops and stacks',
      'batch_size': BATCH,
      'measured': measured,
      'computed_images_per_second_of_the_step_at_64x64': needed(),
    },
  )


if __name__ == '__main__':
  app.run(main)
