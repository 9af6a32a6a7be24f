"""The content of results.json as a text table for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any


def table(content: Mapping[str, Any]) -> str:
  """Formats the accuracies of a run, in per cent.

  Args:
    content: of `results.json`.

  Returns:
    Lines of text: a table of roles by attacks, then one or more lines for
    each other part of the results that is present.
  """
  lines = [
    *_accuracies(content['roles']),
    *_transfer(content.get('transfer', {})),
    *_autoattack(content.get('autoattack', {})),
    *_corruptions(content.get('corruptions', {})),
    *_obfuscation(content.get('obfuscation', {})),
  ]
  return '\n'.join(lines)


def _accuracies(roles) -> Iterator[str]:
  """Yields the table; `roles` is role -> attack -> {'accuracy', 'n'}."""
  names = list(dict.fromkeys(name for r in roles.values() for name in r))
  counts = {value['n'] for r in roles.values() for value in r.values()}
  width = max(len(role) for role in roles)
  listed_counts = ', '.join(map(str, sorted(counts)))
  yield f'accuracy in % on {listed_counts} test images'
  yield ' ' * width + ''.join(f'{name:>12}' for name in names)
  for role, values in roles.items():
    cells = [
      f'{100 * values[name]["accuracy"]:>12.2f}' if name in values else ' ' * 12
      for name in names
    ]
    yield f'{role:<{width}}' + ''.join(cells)


def _transfer(transfers) -> Iterator[str]:
  """Yields lines of `Transfer.name` -> {'accuracy', 'n'}."""
  for name, value in transfers.items():
    target, _, source = name.partition('_on_')
    yield (
      f'{target} on images that attack {source.replace("_", " ")}: '
      f'{100 * value["accuracy"]:.2f}'
    )


def _autoattack(roles) -> Iterator[str]:
  """Yields lines of role -> attack -> report, with the report's flags."""
  for role, reports in roles.items():
    for name, report in reports.items():
      robust, clean = report['robust_accuracy'], report['clean_accuracy']
      yield (
        f'{role}, {name} on {report["n"]} images: {100 * robust:.2f} '
        f'(clean {100 * clean:.2f})'
      )
      for flag, why in report['flags'].items():
        yield f'  {flag}: {why}'


def _corruptions(roles) -> Iterator[str]:
  """Yields lines of role -> {'mean', 'each': name -> one per severity}."""
  for role, value in roles.items():
    means = ', '.join(
      f'{name} {100 * sum(accuracies) / len(accuracies):.2f}'
      for name, accuracies in value['each'].items()
    )
    yield (
      f'{role} on corrupted images, mean of all: {100 * value["mean"]:.2f} '
      f'({means})'
    )


def _obfuscation(roles) -> Iterator[str]:
  """Yields lines of role -> check -> {'passed', 'values', 'why'}."""
  for role, checks in roles.items():
    passed = sum(check['passed'] for check in checks.values())
    yield f'{role}, masked gradients: {passed} of {len(checks)} checks pass'
    for name, check in checks.items():
      values = ', '.join(
        f'{label} {100 * value:.2f}' for label, value in check['values'].items()
      )
      verdict = 'passed' if check['passed'] else 'FAILED'
      yield f'  {verdict} {name.replace("_", " ")}: {values}'
      if not check['passed']:
        yield f'    {check["why"]}'
