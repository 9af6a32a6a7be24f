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


def page() -> str:
  """Returns the page as Markdown."""
  parts = [
    '# Benchmarks',
    'Made by `python -m experiments.benchmarks.page` from '
    '`experiments/results/benchmarks/*.json`; each program states what it '
    'measures. What a second process costs is in [scaling.md](../scaling.md).',
  ]
  sections = {'memory': _memory, 'input': _input, 'autoattack': _autoattack}
  for name, section in sections.items():
    found = _read(name)
    if found:
      parts.append(section(found))
  return '\n\n'.join(parts) + '\n'


if __name__ == '__main__':
  PAGE.write_text(page())
