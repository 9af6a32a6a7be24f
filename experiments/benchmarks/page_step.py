"""Sections of the benchmark page about the training step.

Each function takes the content of one result file and returns Markdown.
"""

from experiments.benchmarks import markdown

_UNCHANGED = dict.fromkeys(('median', 'min', 'max'), 1)

_SIDES = {
  'ours': 'ours',
  'eager': 'PyTorch as the authors run it: eager, NCHW, two passes',
  'channels_last': 'PyTorch, channels last, one pass',
  'compile': 'the same with torch.compile',
}


def _step_row(name: str, side: dict) -> list[str]:
  """Returns the table row of one side of a comparison."""
  ratio = side.get('ours_is_times_faster')
  first = side['first_step_seconds']
  first += side.get('trace_seconds', 0) + side.get('compile_seconds', 0)
  return [
    _SIDES[name],
    f'{side["images_per_second"]:.1f}',
    markdown.ratio(ratio) if ratio else '1',
    f'{100 * side["share_of_matrix_rate"]:.0f}',
    f'{first:.0f}',
    f'{side["peak_bytes"] / 2**30:.1f}',
  ]


def step(result: dict) -> str:
  """Returns the comparison of our step with PyTorch's."""
  heads = [
    '',
    'images/s',
    "PyTorch's time over ours",
    'share, %',
    'first step, s',
    'memory, GiB',
  ]
  parts = [
    '## The step',
    "PeerAiD's whole training step on 32x32 images: ours, and PyTorch's "
    '(`torch_step.py`). Each side is a process of its own; they take turns, '
    'and the one whose turn it is has all cores or the GPU to itself. Ours '
    'also crops and flips the images; PyTorch gets them ready-made.',
    '"PyTorch\'s time over ours" is the median of the rounds, with the range: '
    'above 1, ours is faster. "Share" compares the FLOP/s of a side with those '
    'of large matrix products on the same device. It counts 30 forward passes '
    'of plain convolutions per image for every side, even where a side '
    'computes something cheaper in their place. "Memory" is the peak of the '
    'process on its device; on a CPU that includes its libraries.',
  ]
  for label, m in result['measured'].items():
    ours = m['sides']['ours']
    rows = [_step_row(name, side) for name, side in m['sides'].items()]
    machine = markdown.machine(m)
    for side in list(m['sides'].values())[1:2]:
      machine += f', torch {side["torch"]} with {side["threads"]} threads'
    parts += [
      f'**{label}**: {m["flops_per_image"] / 1e9:.1f} GFLOP per image; matrix '
      f'products run at {m["matrix_flops_per_second"] / 1e9:,.0f} GFLOP/s; '
      f'{m["rounds"]} rounds of {m["steps_per_round"]} steps; ours on '
      f'{ours["devices"]} device(s), traced in {ours["trace_seconds"]:.0f} s, '
      f'compiled in {ours["compile_seconds"]:.0f} s',
      markdown.table(heads, rows),
      f'{machine}; commit {m["commit"][:8]}.',
    ]
  parts.append('`python -m experiments.benchmarks.step`')
  return '\n\n'.join(parts)


def growth(result: dict) -> str:
  """Returns the speed of our step as one setting at a time grows."""
  groups = {}
  for label, m in result['measured'].items():
    kind = label.partition(' on ')[2]
    groups.setdefault((kind, *m['base'].values()), []).append(m)
  heads = ['', 'images/s', 'devices', 'compiled in, s', 'temporary, MiB']
  parts = ['## As one setting grows']
  for (kind, *_), measured in groups.items():
    base = measured[0]['base']
    rows = [
      [
        f'{m["axis"].replace("_", " ")} {value}',
        f'{point["images_per_second"]:.1f}',
        str(point['devices']),
        f'{point["compile_seconds"]:.0f}',
        f'{point["temporary_bytes"] / 2**20:.0f}',
      ]
      for m in measured
      for value, point in m['points'].items()
    ]
    commits = sorted({m['commit'][:8] for m in measured})
    parts += [
      f'Our step on {kind}: {base["network"]} of width {base["width"]}, '
      f'{base["batch"]} images, PGD-{base["attack_steps"]}, {base["dtype"]}. '
      'Each row changes one of these; the others stay.',
      markdown.table(heads, rows),
      f'{markdown.machine(measured[-1])}; commit {", ".join(commits)}.',
    ]
  parts.append('`python -m experiments.benchmarks.step --growth`')
  return '\n\n'.join(parts)


def levers(result: dict) -> str:
  """Returns the comparison of our step with variants of itself."""
  heads = ['', 'time over the first', 'compiled in, s', 'temporary, MiB']
  parts = [
    '## One thing changed',
    'Our step unchanged, and with one thing changed (`levers.py`), in turns. '
    'The ratio is the time of the variant over that of the unchanged step, '
    'median of the rounds with the range: below 1, the change helps.',
  ]
  for label, m in result['measured'].items():
    rows = [
      [
        m['levers'].get(name, 'unchanged'),
        markdown.ratio(side.get('ours_is_times_faster', _UNCHANGED)),
        f'{side["compile_seconds"]:.0f}',
        f'{side["temporary_bytes"] / 2**20:.0f}',
      ]
      for name, side in m['sides'].items()
    ]
    unchanged = m['sides']['ours']['images_per_second']
    parts += [
      f'**{label}**, {unchanged:.1f} images/s unchanged, {m["rounds"]} rounds '
      f'of {m["calls_per_round"]} calls',
      markdown.table(heads, rows),
      f'{markdown.machine(m)}; commit {m["commit"][:8]}.',
    ]
  parts.append('`python -m experiments.benchmarks.step --levers`')
  return '\n\n'.join(parts)
