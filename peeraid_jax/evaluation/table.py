"""The content of results.json as a text table for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peeraid_jax.evaluation import earlier_files, entries


def table(content: Mapping[str, Any]) -> str:
  """Formats the accuracies of a run, in per cent.

  Args:
    content: of `results.json`.

  Returns:
    Lines of text on the checkpoints that were evaluated last: for each set of
    test images a table of roles by attacks, then one or more lines for each
    other part of the results that is present. At the end, which other
    checkpoints the file has results of.
  """
  measured = earlier_files.entries_of(content)
  sources = content.get('selection', {}).get('roles', {})
  shown = [entry for entry in measured if entries.is_of(entry, sources)]
  of_kind: dict[str, list[entries.Entry]] = {
    kind: [entry for entry in shown if entry['kind'] == kind]
    for kind in entries.KINDS
  }
  lines = [
    *_accuracies(of_kind['attack']),
    *_transfer(of_kind['transfer']),
    *_autoattack(of_kind['autoattack']),
    *_corruptions(of_kind['corruptions']),
    *_obfuscation(of_kind['obfuscation']),
    *_checkpoints(sources, [e for e in measured if e not in shown]),
  ]
  return '\n'.join(lines)


def _images(entry: entries.Entry) -> str:
  """Says on how many images an entry was measured, and which."""
  if entry['n'] is None:
    return 'an unknown number of images'
  return f'{entry["n"]} images{entries.SUBSETS.get(entry["subset"], "")}'


def _accuracies(measured: Sequence[entries.Entry]) -> Iterator[str]:
  """Yields a table for each set of images, that of the most images first."""
  image_sets = dict.fromkeys((e['n'], e['subset']) for e in measured)
  for n, subset in sorted(image_sets, key=lambda images: -images[0]):
    group = [e for e in measured if (e['n'], e['subset']) == (n, subset)]
    rows: dict[str, dict[str, float]] = {}
    for entry in group:
      label = entries.label(entry, group)
      rows.setdefault(entry['role'], {})[label] = entry['result']['accuracy']
    yield f'accuracy in % on {entries.images_text(n, subset)}'
    yield from _grid(rows)


def _grid(rows: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
  """Yields heads and rows; `rows` is role -> label -> accuracy."""
  labels = list(dict.fromkeys(label for row in rows.values() for label in row))
  width = max(len(role) for role in rows)
  widths = {label: max(12, len(label) + 2) for label in labels}
  yield ' ' * width + ''.join(f'{lab:>{widths[lab]}}' for lab in labels)
  for role, row in rows.items():
    cells = [
      f'{100 * row[label]:>{widths[label]}.2f}'
      if label in row
      else ' ' * widths[label]
      for label in labels
    ]
    yield f'{role:<{width}}' + ''.join(cells)


def _transfer(measured: Sequence[entries.Entry]) -> Iterator[str]:
  """Yields a line for each transfer."""
  for entry in measured:
    target, _, source = entries.label(entry, measured).partition('_on_')
    yield (
      f'{target} on images that attack {source.replace("_", " ")}: '
      f'{100 * entry["result"]["accuracy"]:.2f} on {_images(entry)}'
    )


def _autoattack(measured: Sequence[entries.Entry]) -> Iterator[str]:
  """Yields lines of reports of AutoAttack, with their flags."""
  for entry in measured:
    report, label = entry['result'], entries.label(entry, measured)
    robust, clean = report['robust_accuracy'], report['clean_accuracy']
    yield (
      f'{entry["role"]}, {label} on {_images(entry)}: {100 * robust:.2f} '
      f'(clean {100 * clean:.2f})'
    )
    for flag, why in report['flags'].items():
      yield f'  {flag}: {why}'


def _corruptions(measured: Sequence[entries.Entry]) -> Iterator[str]:
  """Yields a line for each network that saw corrupted images."""
  for entry in measured:
    means = ', '.join(
      f'{name} {100 * sum(accuracies) / len(accuracies):.2f}'
      for name, accuracies in entry['result']['each'].items()
    )
    yield (
      f'{entry["role"]} on corrupted images, mean of all: '
      f'{100 * entry["result"]["mean"]:.2f} ({means}) on {_images(entry)} each'
    )


def _obfuscation(measured: Sequence[entries.Entry]) -> Iterator[str]:
  """Yields lines of the checks for masked gradients."""
  for entry in measured:
    checks = entry['result']
    passed = sum(check['passed'] for check in checks.values())
    yield (
      f'{entry["role"]}, masked gradients: {passed} of {len(checks)} checks '
      f'pass, on {_images(entry)}'
    )
    for name, check in checks.items():
      values = ', '.join(
        f'{label} {100 * value:.2f}' for label, value in check['values'].items()
      )
      verdict = 'passed' if check['passed'] else 'FAILED'
      yield f'  {verdict} {name.replace("_", " ")}: {values}'
      if not check['passed']:
        yield f'    {check["why"]}'


def _checkpoints(
  sources: Mapping[str, Any], others: Sequence[entries.Entry]
) -> Iterator[str]:
  """Says which checkpoints the tables are of, and which others there are."""
  if sources:
    texts = [f'{r} {entries.source_text(s)}' for r, s in sources.items()]
    yield f'checkpoints: {", ".join(texts)}'
  if others:
    texts = [
      f'{entry["role"]} {entries.source_text(entries.own_source(entry))}'
      for entry in others
    ]
    yield (
      f'results.json also has {len(others)} results of other checkpoints: '
      f'{", ".join(dict.fromkeys(texts))}'
    )
