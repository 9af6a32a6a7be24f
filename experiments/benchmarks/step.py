"""PeerAiD's step: ours, and PyTorch's, in turns on the same machine.

python -m experiments.benchmarks.step [--settings=resnet18:64:128:float32,...]
python -m experiments.benchmarks.step --growth [--settings=ONE]
python -m experiments.benchmarks.step --levers [--settings=...]

A setting is network:width:batch:dtype. Without PyTorch ours is measured alone.
--growth measures ours as the batch, the steps of the attack, the width and the
devices grow; --levers compares it with itself, one thing changed. What was
measured goes to step.json, growth.json or levers.json in
experiments/results/benchmarks, an entry per setting and device; one that is
there is measured anew.
"""

import dataclasses
import importlib.util
import os
import statistics

from absl import app, flags, logging

from experiments.benchmarks import filed, levers, programs, sides

_SETTINGS = flags.DEFINE_list(
  'settings',
  ['resnet18:16:128:float32', 'resnet18:64:128:float32'],
  'network:width:batch:dtype',
)
_TORCH = flags.DEFINE_list(
  'torch', ['eager', 'channels_last', 'compile'], 'variants of torch_step.py'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'turns of each side')
_STEPS = flags.DEFINE_integer('steps', 2, 'steps of a turn')
_GROWTH = flags.DEFINE_bool('growth', False, 'ours alone, along four axes')
_AXES = flags.DEFINE_list(
  'axes', ['batch', 'attack_steps', 'width', 'devices'], 'of --growth'
)
_LEVERS = flags.DEFINE_bool('levers', False, 'ours with one thing changed')
_OUT = flags.DEFINE_string('out', '', 'the result')


def _jobs(setting: str, others) -> list[sides.Job]:
  """Returns ours and other sides at a setting."""
  network, width, batch, dtype = setting.split(':')
  return [
    sides.Job(side, network, int(width), int(batch), dtype)
    for side in ('ours', *others)
  ]


def measure_settings() -> None:
  """Compares ours with PyTorch's at each setting, and files it."""
  there = importlib.util.find_spec('torch') is not None
  out = _OUT.value or filed.default('step')
  for setting in _SETTINGS.value:
    jobs = _jobs(setting, _TORCH.value if there else ())
    found = sides.compare(jobs, _ROUNDS.value, _STEPS.value)
    work_of_one = programs.flops_per_image(sides.config(jobs[0]))
    rate = sides.matrix_rate(jobs[0].dtype)
    # One GPU; or a CPU's virtual devices, which are all of its cores.
    for side in found.values():
      # PyTorch's is counted as ours, though eager passes some images twice.
      done = side['images_per_second'] * work_of_one
      side['share_of_matrix_rate'] = done / rate
    filed.add(
      out,
      "PeerAiD's step on 32x32 images, ours and PyTorch's in turns",
      f'{setting} on {sides.device()}',
      {
        'network': jobs[0].network,
        'width': jobs[0].width,
        'batch_size': jobs[0].batch,
        'dtype': jobs[0].dtype,
        'flops_per_image': work_of_one,
        'matrix_flops_per_second': rate,
        'rounds': _ROUNDS.value,
        'steps_per_round': _STEPS.value,
        'sides': found,
      },
    )


_GROWTH_FROM = 'resnet18:16:64:float32'


def _axes(base: sides.Job) -> dict[str, list[int]]:
  """Returns what grows, and its values."""
  return {
    'batch': [base.batch * n // 4 for n in (1, 2, 4, 8, 16)],
    'attack_steps': [1, 5, 10, 20],
    'width': [base.width * n // 2 for n in (1, 2, 4, 8)],
    'devices': [1, 2],
  }


def measure_growth() -> None:
  """Measures ours along each axis, the points of one in turns; files it."""
  out = _OUT.value or filed.default('growth')
  setting = _SETTINGS.value[0] if _SETTINGS.present else _GROWTH_FROM
  (base,) = _jobs(setting, ())
  axes = _axes(base)
  for axis in _AXES.value:
    values = axes[axis]
    measured = {}
    for value in values:
      measured[value] = sides.Side(dataclasses.replace(base, **{axis: value}))
    for _ in range(_ROUNDS.value):
      for side in measured.values():
        side.take(_STEPS.value)
    points = {}
    for value, side in measured.items():
      side.end()
      batch = value if axis == 'batch' else base.batch
      median = statistics.median(s for turn in side.turns for s in turn)
      points[str(value)] = side.known | {
        'seconds': side.turns,
        'images_per_second': batch / median,
      }
      print(axis, value, f'{batch / median:.1f} images/s', flush=True)
    filed.add(
      out,
      "PeerAiD's step as one thing grows, the others as in `base`",
      f'{axis} on {sides.device()}',
      {'axis': axis, 'base': dataclasses.asdict(base), 'points': points},
    )


def measure_levers() -> None:
  """Compares ours with itself, one lever at a time, and files it."""
  out = _OUT.value or filed.default('levers')
  kind = sides.device()
  chosen = {
    name: lever.what
    for name, lever in levers.LEVERS.items()
    if sides.on_gpu() or not lever.flags
  }
  for setting in _SETTINGS.value:
    found = sides.compare(_jobs(setting, chosen), _ROUNDS.value, _STEPS.value)
    filed.add(
      out,
      "PeerAiD's step on 32x32 images as it is, and with one thing changed",
      f'{setting} on {kind}',
      {
        'rounds': _ROUNDS.value,
        'calls_per_round': _STEPS.value,
        'levers': chosen,
        'sides': found,
      },
    )


def main(argv) -> None:
  """Measures what the flags say."""
  del argv
  # JAX tells of the backends that it has tried.
  logging.set_verbosity(logging.WARNING)
  # A GPU's memory is for the sides.
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  if _GROWTH.value:
    measure_growth()
  elif _LEVERS.value:
    measure_levers()
  else:
    measure_settings()


if __name__ == '__main__':
  app.run(main)
