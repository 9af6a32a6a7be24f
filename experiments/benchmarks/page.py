"""Makes experiments/benchmarks/README.md from what the benchmarks filed.

python -m experiments.benchmarks.page
"""

import json
import pathlib
import statistics

_HERE = pathlib.Path(__file__).parent
PAGE = _HERE / 'README.md'
_RESULTS = _HERE.parent / 'results/benchmarks'


def _read(name: str) -> dict | None:
  path = _RESULTS / f'{name}.json'
  return json.loads(path.read_text()) if path.exists() else None


def _table(heads: list[str], rows: list[list[str]]) -> str:
  lines = [heads, ['---', *['---:'] * (len(heads) - 1)], *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _where(found: dict) -> str:
  versions = ', '.join(f'{n} {v}' for n, v in found['versions'].items())
  return f'{found["device"]}; {versions}'


def _memory(found: dict) -> str:
  rows = [
    [
      label,
      f'{m["state_bytes"] / 2**30:.2f}',
      f'{m["temporary_bytes"] / 2**30:.2f}',
      f'{m["flops_per_image"] / 1e9:.0f}',
    ]
    for label, m in sorted(found['measured'].items())
  ]
  commits = sorted({m['commit'][:8] for m in found['measured'].values()})
  return (
    '## Memory of the step\n\n'
    "PeerAiD's step on CIFAR-10, compiled for one device and not run: what "
    "XLA's buffer assignment keeps beside the state (student, peer, average, "
    'momenta) at the worst moment, and the work of the program. Another '
    "backend's numbers differ.\n\n"
    + _table(['step', 'state, GiB', 'temporary, GiB', 'GFLOP/image'], rows)
    + f'\n\n`python -m experiments.benchmarks.memory`; {_where(found)}; commit '
    f'{", ".join(commits)}.'
  )


def _input(found: dict) -> str:
  measured = found['measured']
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
  needed = ', '.join(
    f'{rate:,.0f} ({name})'
    for name, rate in found[
      'computed_images_per_second_of_the_step_at_64x64'
    ].items()
  )
  training = measured['training']
  share = 100 * training['share_of_time_waiting']
  return (
    '## Reading images\n\n'
    'Images per second that the host decodes, crops and stacks into batches '
    f'of {found["batch_size"]}, medians of '
    f'{len(measured["tinyimagenet_64"][threads[0]])} rounds:\n\n'
    + _table(['images', *[f'{t} threads' for t in threads]], rows)
    + "\n\nPeerAiD's step with a ResNet-18 at 64x64 should need "
    f'{needed} images per second, computed with the assumptions of '
    '[scaling.md](../scaling.md). In a run here '
    f'({training["network"]}, {training["images_per_second"]:.0f} images/s) '
    f'the steps waited for their batches {share:.2f} % of the time.\n\n'
    '`python -m experiments.benchmarks.input --zip=tiny-imagenet-200.zip`; '
    f'{_where(found)}; commit {found["commit"][:8]}.'
  )


def _autoattack(found: dict) -> str:
  rows = []
  for name, m in found['measured'].items():
    ours, theirs = (
      1e3 * statistics.median(m[f'{side}_seconds_per_point'])
      for side in ('ours', 'theirs')
    )
    times = m['times_faster']
    rows.append(
      [
        name,
        f'{ours:.1f}',
        f'{theirs:.1f}',
        f'{times["median"]:.1f} ({times["min"]:.1f} to {times["max"]:.1f})',
        f'{m["ours_first_run_with_compilation_seconds"]:.0f}',
        f'{100 * m["ours_robust_accuracy"]:.1f}, '
        f'{100 * m["theirs_robust_accuracy"]:.1f}',
      ]
    )
  return (
    "## AutoAttack, ours and the authors'\n\n"
    f'{found["what"]}; {found["network"]}, {found["points"]} points in batches '
    f'of {found["batch_size"]}, {found["norm"]}, epsilon {found["epsilon"]}; '
    f'both with all cores (PyTorch: {found["torch_threads"]} threads), in '
    'float32, PyTorch eager, in turns. The first run of ours compiles. On so '
    "small a network most of the time is that of XLA's convolutions on a CPU; "
    'a larger one, or a GPU, has not been measured.\n\n'
    + _table(
      [
        'attack',
        'ours, ms/point',
        'theirs',
        'times faster (range)',
        'first run, s',
        'robust, %',
      ],
      rows,
    )
    + f'\n\n`python -m experiments.benchmarks.autoattack`; {_where(found)}; '
    f'commit {found["commit"][:8]}.'
  )


_ONE = dict.fromkeys(('median', 'min', 'max'), 1)


def _range(ratio: dict) -> str:
  return f'{ratio["median"]:.2f} ({ratio["min"]:.2f} to {ratio["max"]:.2f})'


_SIDES = {
  'ours': 'ours',
  'eager': 'PyTorch as the authors run it: eager, NCHW, two passes',
  'channels_last': 'PyTorch, channels last, one pass',
  'compile': 'the same with torch.compile',
}


def _step(found: dict) -> str:
  parts = [
    '## The step',
    "PeerAiD's whole step on 32x32 images: ours, and PyTorch's "
    '(`torch_step.py`), in turns, a process each, all cores or one GPU for the '
    'one whose turn it is. Ours also crops and flips; PyTorch gets its images '
    'ready. Times of PyTorch over ours, medians of rounds: above 1, ours is '
    'faster. The share is that of the rate of large matrix products on the '
    'device, with 30 forward passes of plain convolutions per image for all, '
    'whatever a side computes in their place. Memory is the most that a '
    'process held on its device, its libraries included on a CPU.',
  ]
  for label, m in found['measured'].items():
    rows = []
    for name, side in m['sides'].items():
      ratio = side.get('ours_is_times_faster')
      first = side['first_step_seconds']
      first += side.get('trace_seconds', 0) + side.get('compile_seconds', 0)
      rows.append(
        [
          _SIDES[name],
          f'{side["images_per_second"]:.1f}',
          _range(ratio) if ratio else '1',
          f'{100 * side["share_of_matrix_rate"]:.0f}',
          f'{first:.0f}',
          f'{side["peak_bytes"] / 2**30:.1f}',
        ]
      )
    ours = m['sides']['ours']
    heads = ['', 'images/s', "PyTorch's time over ours", 'share, %']
    parts.append(
      f'**{label}**: {m["flops_per_image"] / 1e9:.1f} GFLOP per image, matrix '
      f'products at {m["matrix_flops_per_second"] / 1e9:,.0f} GFLOP/s, '
      f'{m["rounds"]} rounds of {m["steps_per_round"]} steps; ours on '
      f'{ours["devices"]} device(s), traced in {ours["trace_seconds"]:.0f} s, '
      f'compiled in {ours["compile_seconds"]:.0f} s'
    )
    parts.append(_table([*heads, 'first step, s', 'memory, GiB'], rows))
    where = _where(m)
    for side in list(m['sides'].values())[1:2]:
      where += f', torch {side["torch"]} with {side["threads"]} threads'
    parts.append(f'{where}; commit {m["commit"][:8]}.')
  parts.append('`python -m experiments.benchmarks.step`')
  return '\n\n'.join(parts)


def _growth(found: dict) -> str:
  groups = {}
  for label, m in found['measured'].items():
    kind = label.partition(' on ')[2]
    groups.setdefault((kind, *m['base'].values()), []).append(m)
  parts = ['## As one thing grows']
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
    heads = ['', 'images/s', 'devices', 'compiled in, s', 'temporary, MiB']
    commits = sorted({m['commit'][:8] for m in measured})
    parts += [
      f'Ours on {kind}: {base["network"]} of width {base["width"]}, '
      f'{base["batch"]} images, PGD-{base["attack_steps"]}, {base["dtype"]}, '
      'but for what the row says.',
      _table(heads, rows),
      f'{_where(measured[-1])}; commit {", ".join(commits)}.',
    ]
  parts.append('`python -m experiments.benchmarks.step --growth`')
  return '\n\n'.join(parts)


def _levers(found: dict) -> str:
  parts = [
    '## One thing changed',
    'The step as it is, and with one thing changed (`levers.py`), in turns. '
    'Times over those as it is, medians of rounds: under 1, it helps.',
  ]
  for label, m in found['measured'].items():
    rows = [
      [
        m['levers'].get(name, 'as it is'),
        _range(side.get('ours_is_times_faster', _ONE)),
        f'{side["compile_seconds"]:.0f}',
        f'{side["temporary_bytes"] / 2**20:.0f}',
      ]
      for name, side in m['sides'].items()
    ]
    ours = m['sides']['ours']['images_per_second']
    parts += [
      f'**{label}**, {ours:.1f} images/s as it is, {m["rounds"]} rounds of '
      f'{m["calls_per_round"]} calls',
      _table(
        ['', 'time over the first', 'compiled in, s', 'temporary, MiB'], rows
      ),
      f'{_where(m)}; commit {m["commit"][:8]}.',
    ]
  parts.append('`python -m experiments.benchmarks.step --levers`')
  return '\n\n'.join(parts)


def _start(found: dict) -> str:
  middle = lambda values: f'{statistics.median(values):.1f}'
  rows = [
    [name, '', middle(values)] for name, values in found['answers'].items()
  ]
  rows += [
    [
      f'digits, {name}',
      middle([start['data'] for start in starts]),
      middle([start['step'] for start in starts]),
    ]
    for name, starts in found['first_step'].items()
  ]
  count = len(found['answers']['help'])
  return (
    '## Start\n\n'
    'Seconds from the start of a process until its data are found, and until '
    f'it answers or has taken a step; medians of {count}. Compiled programs '
    "are kept in the user's cache.\n\n"
    + _table(['', 'data found', 'answer or first step'], rows)
    + f'\n\n`python -m experiments.benchmarks.start`; {_where(found)}; commit '
    f'{found["commit"][:8]}.'
  )


def _convolutions(found: dict) -> str:
  rows = [
    [
      label,
      *[
        f'{1e3 * m[name]["ours_seconds"]:.1f}, '
        f'{m[name]["ours_is_times_faster"]["median"]:.1f}'
        for name in ('forward', 'images', 'kernel')
      ],
    ]
    for label, m in found['measured'].items()
  ]
  return (
    '## Convolutions on a CPU\n\n'
    f'Of {found["batch_size"]} images, by one core, outside of loops: '
    'milliseconds of ours, and how many times as long the stock one takes; '
    f'medians of {found["rounds"]}.\n\n'
    + _table(['', 'forward', "images' gradient", "kernel's gradient"], rows)
    + f'\n\n`python -m experiments.benchmarks.convolutions`; {_where(found)}; '
    f'commit {found["commit"][:8]}.'
  )


_SECTIONS = {
  'step': _step,
  'growth': _growth,
  'levers': _levers,
  'start': _start,
  'convolutions': _convolutions,
  'memory': _memory,
  'input': _input,
  'autoattack': _autoattack,
}


def page() -> str:
  """Returns the page as Markdown."""
  parts = [
    '# Benchmarks',
    'Made by `python -m experiments.benchmarks.page` from '
    '`experiments/results/benchmarks/*.json` and `tried.md`; each program '
    'states what it measures. What a second process costs is in '
    '[scaling.md](../scaling.md). CI has no clock: `tests/guard_test.py` holds '
    "the step's FLOPs, bytes, memory and compilations to bounds.",
  ]
  for name, section in _SECTIONS.items():
    found = _read(name)
    if found:
      parts.append(section(found))
  parts.append((_HERE / 'tried.md').read_text().strip())
  return '\n\n'.join(parts) + '\n'


if __name__ == '__main__':
  PAGE.write_text(page())
