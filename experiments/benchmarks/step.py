"""Speed of PeerAiD's training step, ours and PyTorch's, on one machine.

python -m experiments.benchmarks.step [--settings=resnet18:64:128:float32,...]
python -m experiments.benchmarks.step --growth [--settings=ONE]
python -m experiments.benchmarks.step --levers [--settings=...]

A setting is network:width:batch:dtype. Without flags, our step and PyTorch's
take turns; if PyTorch is not installed, ours is measured alone. --growth
measures ours as batch, attack steps, width and devices grow. --levers compares
ours with variants of itself that change one thing.

Results go to step.json, growth.json or levers.json in
experiments/results/benchmarks: one entry per setting and device, which
replaces an earlier one.
"""

import dataclasses
import importlib.util
import os
import statistics

from absl import app, flags, logging

from experiments.benchmarks import (
  devices,
  levers,
  programs,
  result_files,
  sides,
)

_SETTINGS = flags.DEFINE_list(
  'settings',
  ['resnet18:16:128:float32', 'resnet18:64:128:float32'],
  'network:width:batch:dtype',
)
_TORCH = flags.DEFINE_list(
  'torch', ['eager', 'channels_last', 'compile'], 'variants of torch_step.py'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'turns of each side')
_STEPS = flags.DEFINE_integer('steps', 2, 'calls of the step in a turn')
_GROWTH = flags.DEFINE_bool('growth', False, 'measure ours along the axes')
_AXES = flags.DEFINE_list(
  'axes', ['batch', 'attack_steps', 'width', 'devices'], 'of --growth'
)
_LEVERS = flags.DEFINE_bool('levers', False, 'compare ours with variants of it')
_OUT = flags.DEFINE_string('out', '', 'result file; empty: the default one')

_GROWTH_BASE = 'resnet18:16:64:float32'


def _jobs(setting: str, others) -> list[sides.Job]:
  """Returns the jobs of a setting: ours, then the other sides."""
  network, width, batch, dtype = setting.split(':')
  return [
    sides.Job(side, network, int(width), int(batch), dtype)
    for side in ('ours', *others)
  ]


def measure_settings() -> None:
  """Compares our step with PyTorch's at each setting."""
  has_torch = importlib.util.find_spec('torch') is not None
  out = _OUT.value or result_files.default('step')
  for setting in _SETTINGS.value:
    jobs = _jobs(setting, _TORCH.value if has_torch else ())
    measured = sides.compare(jobs, _ROUNDS.value, _STEPS.value)
    flops_per_image = programs.flops_per_image(sides.config(jobs[0]))
    # Of one GPU; or of all virtual devices of a CPU, which are all its cores.
    rate = devices.matrix_rate(jobs[0].dtype)
    for side in measured.values():
      # The same FLOPs for every side, although PyTorch's eager variant passes
      # the adversarial images through the student twice.
      achieved = side['images_per_second'] * flops_per_image
      side['share_of_matrix_rate'] = achieved / rate
    result_files.add(
      out,
      "PeerAiD's step on 32x32 images, ours and PyTorch's in turns",
      f'{setting} on {devices.kind()}',
      {
        'network': jobs[0].network,
        'width': jobs[0].width,
        'batch_size': jobs[0].batch,
        'dtype': jobs[0].dtype,
        'flops_per_image': flops_per_image,
        'matrix_flops_per_second': rate,
        'rounds': _ROUNDS.value,
        'steps_per_round': _STEPS.value,
        'sides': measured,
      },
    )


def _axes(base: sides.Job) -> dict[str, list[int]]:
  """Returns field of a job -> the values that --growth measures."""
  return {
    'batch': [base.batch * n // 4 for n in (1, 2, 4, 8, 16)],
    'attack_steps': [1, 5, 10, 20],
    'width': [base.width * n // 2 for n in (1, 2, 4, 8)],
    'devices': [1, 2],
  }


def _measure_axis(base: sides.Job, axis: str, values: list[int]) -> dict:
  """Measures the step at each value of one axis, in turns."""
  processes = {
    value: sides.Side(dataclasses.replace(base, **{axis: value}))
    for value in values
  }
  for _ in range(_ROUNDS.value):
    for side in processes.values():
      side.take(_STEPS.value)
  points = {}
  for value, side in processes.items():
    side.end()
    batch = value if axis == 'batch' else base.batch
    median = statistics.median(s for turn in side.turns for s in turn)
    points[str(value)] = side.facts | {
      'seconds': side.turns,
      'images_per_second': batch / median,
    }
    print(axis, value, f'{batch / median:.1f} images/s', flush=True)
  return points


def measure_growth() -> None:
  """Measures our step along each axis, the other settings fixed."""
  out = _OUT.value or result_files.default('growth')
  setting = _SETTINGS.value[0] if _SETTINGS.present else _GROWTH_BASE
  (base,) = _jobs(setting, ())
  axes = _axes(base)
  for axis in _AXES.value:
    result_files.add(
      out,
      "PeerAiD's step as one setting grows, the others as in `base`",
      f'{axis} on {devices.kind()}',
      {
        'axis': axis,
        'base': dataclasses.asdict(base),
        'points': _measure_axis(base, axis, axes[axis]),
      },
    )


def measure_levers() -> None:
  """Compares our step with variants that each pull one lever."""
  out = _OUT.value or result_files.default('levers')
  kind = devices.kind()
  descriptions = {
    name: lever.what
    for name, lever in levers.LEVERS.items()
    if devices.on_gpu() or not lever.flags
  }
  for setting in _SETTINGS.value:
    jobs = _jobs(setting, descriptions)
    result_files.add(
      out,
      "PeerAiD's step on 32x32 images, unchanged and with one thing changed",
      f'{setting} on {kind}',
      {
        'rounds': _ROUNDS.value,
        'calls_per_round': _STEPS.value,
        'levers': descriptions,
        'sides': sides.compare(jobs, _ROUNDS.value, _STEPS.value),
      },
    )


def main(argv) -> None:
  """Runs the measurement that the flags choose."""
  del argv
  # At the level 'info', JAX reports every backend that it has looked for.
  logging.set_verbosity(logging.WARNING)
  # Leaves a GPU's memory to the sides.
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  if _GROWTH.value:
    measure_growth()
  elif _LEVERS.value:
    measure_levers()
  else:
    measure_settings()


if __name__ == '__main__':
  app.run(main)
