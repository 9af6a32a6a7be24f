"""Sections of the benchmark page about everything but the training step.

Each function takes the content of one result file and returns Markdown.
"""

import statistics

from experiments.benchmarks import markdown


def _source(command: str, result: dict, commits: str = '') -> str:
  """Returns the last line of a section: command, machine and commit."""
  commits = commits or result['commit'][:8]
  return (
    f'`python -m experiments.benchmarks.{command}`; '
    f'{markdown.machine(result)}; commit {commits}.'
  )


def start(result: dict) -> str:
  """Returns how long commands take to answer or to train the first step."""
  median = lambda values: f'{statistics.median(values):.1f}'
  rows = [
    [name, '', median(values)] for name, values in result['answers'].items()
  ]
  rows += [
    [
      f'digits, {name}',
      median([start['data'] for start in starts]),
      median([start['step'] for start in starts]),
    ]
    for name, starts in result['first_step'].items()
  ]
  count = len(result['answers']['help'])
  return '\n\n'.join(
    [
      '## Start',
      'Seconds from the start of a process until it has loaded its data, and '
      'until it has answered or taken its first training step; medians of '
      f'{count}. Compiled programs are kept in the user\'s cache; "kept" '
      'refers to them.',
      markdown.table(['', 'data loaded', 'answer or first step'], rows),
      _source('start', result),
    ]
  )


def convolutions(result: dict) -> str:
  """Returns the times of our convolutions beside XLA's stock ones."""
  rows = [
    [
      label,
      *[
        f'{1e3 * m[name]["ours_seconds"]:.1f}, '
        f'{m[name]["ours_is_times_faster"]["median"]:.1f}'
        for name in ('forward', 'images', 'kernel')
      ],
    ]
    for label, m in result['measured'].items()
  ]
  return '\n\n'.join(
    [
      '## Convolutions on a CPU',
      f'Convolutions of {result["batch_size"]} images on one core, outside of '
      'loops. Each cell has the milliseconds of ours, and how many times as '
      f"long XLA's stock convolution takes; medians of {result['rounds']}. A "
      'row names image size, input and output channels, and kernel size.',
      markdown.table(
        ['', 'forward', "images' gradient", "kernel's gradient"], rows
      ),
      _source('convolutions', result),
    ]
  )


def memory(result: dict) -> str:
  """Returns memory and work of the compiled step of large networks."""
  rows = [
    [
      label,
      f'{m["state_bytes"] / 2**30:.2f}',
      f'{m["temporary_bytes"] / 2**30:.2f}',
      f'{m["flops_per_image"] / 1e9:.0f}',
    ]
    for label, m in sorted(result['measured'].items())
  ]
  commits = sorted({m['commit'][:8] for m in result['measured'].values()})
  return '\n\n'.join(
    [
      '## Memory of the step',
      "PeerAiD's step on CIFAR-10, compiled for one device and not run. "
      '"State" is student, peer, weight average and momenta. "Temporary" is '
      "the peak of what XLA's buffer assignment needs in addition. Another "
      "backend's numbers differ.",
      markdown.table(
        ['step', 'state, GiB', 'temporary, GiB', 'GFLOP/image'], rows
      ),
      _source('memory', result, ', '.join(commits)),
    ]
  )


def reading(result: dict) -> str:
  """Returns how many images per second the host reads from disk."""
  measured = result['measured']
  names = {
    'tinyimagenet_64': 'TinyImageNet, 64x64',
    'photographs_500x375_to_224': 'JPEGs of 500x375, random crops of 224x224',
  }
  threads = list(measured['tinyimagenet_64'])
  rows = [
    [
      label,
      *[f'{statistics.median(measured[name][t]):,.0f}' for t in threads],
    ]
    for name, label in names.items()
  ]
  rates = result['computed_images_per_second_of_the_step_at_64x64']
  needed = ', '.join(f'{rate:,.0f} ({name})' for name, rate in rates.items())
  training = measured['training']
  share = 100 * training['share_of_time_waiting']
  return '\n\n'.join(
    [
      '## Reading images',
      'Images per second that the host decodes, crops and stacks into batches '
      f'of {result["batch_size"]}; medians of '
      f'{len(measured["tinyimagenet_64"][threads[0]])} rounds:',
      markdown.table(['images', *[f'{t} threads' for t in threads]], rows),
      "By the cost model of [scaling.md](../scaling.md), PeerAiD's step with a "
      f'ResNet-18 at 64x64 needs {needed} images per second. In a training run '
      f'on this machine ({training["network"]}, '
      f'{training["images_per_second"]:.0f} images/s) the steps waited for '
      f'their batches {share:.2f} % of the time.',
      _source('input --zip=tiny-imagenet-200.zip', result),
    ]
  )


def autoattack(result: dict) -> str:
  """Returns the times of our AutoAttack beside the authors' package."""
  rows = []
  for name, m in result['measured'].items():
    ours, theirs = (
      1e3 * statistics.median(m[f'{side}_seconds_per_point'])
      for side in ('ours', 'theirs')
    )
    rows.append(
      [
        name,
        f'{ours:.1f}',
        f'{theirs:.1f}',
        markdown.ratio(m['times_faster'], digits=1),
        f'{m["ours_first_run_with_compilation_seconds"]:.0f}',
        f'{100 * m["ours_robust_accuracy"]:.1f}, '
        f'{100 * m["theirs_robust_accuracy"]:.1f}',
      ]
    )
  heads = [
    'attack',
    'ours, ms/point',
    "authors', ms/point",
    'times faster (range)',
    'first run, s',
    'robust, %: ours, theirs',
  ]
  return '\n\n'.join(
    [
      "## AutoAttack, ours and the authors'",
      "Ours in JAX and the authors' package (pyautoattack) in PyTorch attack "
      'the same small adversarially trained network (`twins.py`): '
      f'{result["points"]} points in batches of {result["batch_size"]}, '
      f'{result["norm"]}, epsilon {result["epsilon"]}. Both run in turns in '
      f'float32 with all cores; PyTorch is eager and has '
      f'{result["torch_threads"]} threads. Our first run includes compilation. '
      "On so small a network most of the time goes into XLA's convolutions on "
      'the CPU. We have measured neither a larger network nor a GPU.',
      markdown.table(heads, rows),
      _source('autoattack', result),
    ]
  )
