"""Images per second that the host reads, beside what the step needs.

python -m experiments.benchmarks.input --zip=tiny-imagenet-200.zip

Reads two kinds of images with 1, 2, 4 and 16 threads: TinyImageNet as a run
streams it (64x64, from prepared files), and photographs of ImageNet's usual
size (JPEGs of 500x375, cut from scikit-learn's two) with random resized crops
of 224x224. Also trains on streamed TinyImageNet and measures how long the
steps wait for their batches. Results go to
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
from experiments.benchmarks import flops, result_files
from peeraid_jax import data, models
from peeraid_jax.config import dataset
from peeraid_jax.data import folder, stored
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build, feed
from peeraid_jax.training import step as step_lib

_ZIP = flags.DEFINE_string('zip', None, 'tiny-imagenet-200.zip', required=True)
_SECONDS = flags.DEFINE_float('seconds', 5.0, 'length of a measurement')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'measurements of each')
_THREADS = flags.DEFINE_list('threads', ['1', '2', '4', '16'], 'to measure')
_OUT = flags.DEFINE_string(
  'out', result_files.default('input'), 'the result file'
)

BATCH = 128


def rate(images: data.Stored, crop: stored.Crop | None) -> float:
  """Returns images per second, after the first batch."""
  rng = np.random.default_rng(0)
  rows = rng.integers(0, len(images), (10_000, BATCH))
  reader = images.batches(rows, crop=crop)
  next(reader)
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < _SECONDS.value:
    next(reader)
    count += 1
  seconds = time.perf_counter() - start
  reader.close()
  return count * BATCH / seconds


def rates(open_images, crop: stored.Crop | None) -> dict:
  """Returns threads -> images per second of each round, in turns.

  Args:
    open_images: number of threads -> `data.Stored`.
    crop: random resized crop, or None.
  """
  rounds = {int(threads): [] for threads in _THREADS.value}
  for _ in range(_ROUNDS.value):
    for threads, values in rounds.items():
      values.append(rate(open_images(threads), crop))
  return rounds


def photographs(parent: pathlib.Path) -> stored.Source:
  """Writes 32 JPEGs of 500x375, quality 90, cut from two photographs."""
  from sklearn import datasets

  rng = np.random.default_rng(0)
  paths = []
  for number, whole in enumerate(datasets.load_sample_images().images * 16):
    top, left = (
      int(rng.integers(0, side - part + 1))
      for side, part in zip(whole.shape, (375, 500), strict=False)
    )
    path = parent / f'{number}.jpg'
    image = Image.fromarray(whole[top : top + 375, left : left + 500])
    image.save(path, quality=90)
    paths.append(path)
  return folder.Files(paths)


def needed() -> dict:
  """Returns machine -> images per second that PeerAiD's step would consume.

  Computed by the cost model of `scaling`, for a ResNet-18 at 64x64.
  """
  module = models.create('resnet18', num_classes=200, convolutions='stock')
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
  """Trains a narrow ResNet-18 on streamed images; measures the waiting."""
  from configs import tinyimagenet

  config = tinyimagenet.get_config()
  config.model.width = 8
  config.attack.steps = 1
  config.data.dir, config.data.stream = data_dir, True
  config.train.batch_size = BATCH
  train = dataset.splits(config).train
  plan = build.plan(config, examples=len(train.labels))
  state = parallel.replicate(build.initial_state(plan))
  step_fn = step_lib.map_train_step(build.train_step(plan))
  resident = parallel.replicate(build.resident(plan, train))
  key = jax.random.key(config.seed)
  batches = feed.feed(config, train, 0, feed.TRAINING)
  waits, steps = [], []
  for _ in range(12):
    start = time.perf_counter()
    batch = next(batches)
    waits.append(time.perf_counter() - start)
    state, values = step_fn(state, batch, resident, key)
    jax.block_until_ready(values)
    steps.append(time.perf_counter() - start)
  batches.close()
  # Leaves out the first steps: they compile, and fill the read-ahead buffer.
  return {
    'network': 'resnet18 of width 8, one attack step, 64x64',
    'images_per_second': BATCH / statistics.mean(steps[3:]),
    'share_of_time_waiting': sum(waits[3:]) / sum(steps[3:]),
  }


def main(argv) -> None:
  """Measures everything and writes the result file."""
  del argv
  with tempfile.TemporaryDirectory() as parent:
    load = lambda threads: data.load(
      'tinyimagenet',
      split='train',
      data_dir=parent,
      source=_ZIP.value,
      stream=True,
      threads=threads,
    )
    # Prepares the data set.
    load(1)
    tinyimagenet = rates(lambda threads: load(threads).images, None)
    source = photographs(pathlib.Path(parent))
    open_photographs = lambda threads: data.Stored(
      source, np.arange(32), 224, threads=threads
    )
    imagenet = rates(open_photographs, stored.Crop((0.08, 1.0), (0, 0)))
    training = waiting(parent)
  measured = {
    'tinyimagenet_64': tinyimagenet,
    'photographs_500x375_to_224': imagenet,
    'training': training,
  }
  print(measured)
  result_files.write(
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
