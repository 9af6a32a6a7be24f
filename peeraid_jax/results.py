"""The result of a run: `results.json` and the table on the terminal."""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import jax

_LIBRARIES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def commit() -> str:
  """Returns the commit of the code that runs; '-dirty' if it was changed."""
  folder = pathlib.Path(__file__).parent

  def git(*arguments):
    return subprocess.run(
      ['git', '-C', str(folder), *arguments],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    # An installed copy may lie inside somebody else's repository.
    if not git('ls-files', pathlib.Path(__file__).name):
      return 'unknown'
    head = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '--untracked-files=no', '.')
    return head + ('-dirty' if changed else '')
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


def device() -> str:
  """Returns the kind and number of the devices, with the CPU's cores."""
  first = jax.devices()[0]
  text = f'{jax.device_count()} x {first.device_kind} ({first.platform})'
  if first.platform == 'cpu':
    text += f', {os.cpu_count()} cores, {platform.machine()}'
  return text


def versions() -> dict[str, str]:
  """Returns the versions of what the numbers depend on."""
  found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
  return {'python': platform.python_version(), **found}


def write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes JSON, whole or not at all."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_text(json.dumps(content, indent=2) + '\n')
  os.replace(temporary, path)


def table(content: Mapping[str, Any]) -> str:
  """Returns the accuracies of `results.json` as text, in per cent."""
  names = list(dict.fromkeys(a for r in content['roles'].values() for a in r))
  counts = {a['n'] for r in content['roles'].values() for a in r.values()}
  width = max(len(r) for r in content['roles'])
  lines = [
    f'accuracy in % on {", ".join(map(str, sorted(counts)))} test images',
    ' ' * width + ''.join(f'{n:>12}' for n in names),
  ]
  for role, values in content['roles'].items():
    cells = [
      f'{100 * values[n]["accuracy"]:>12.2f}' if n in values else ' ' * 12
      for n in names
    ]
    lines.append(f'{role:<{width}}' + ''.join(cells))
  for name, value in content.get('transfer', {}).items():
    target, _, source = name.partition('_on_')
    lines.append(
      f'{target} on images that attack {source.replace("_", " ")}: '
      f'{100 * value["accuracy"]:.2f}'
    )
  for role, values in content.get('autoattack', {}).items():
    for name, report in values.items():
      robust, clean = report['robust_accuracy'], report['clean_accuracy']
      lines.append(
        f'{role}, {name} on {report["n"]} images: {100 * robust:.2f} '
        f'(clean {100 * clean:.2f})'
      )
      lines += [f'  {flag}: {why}' for flag, why in report['flags'].items()]
  for role, value in content.get('corruptions', {}).items():
    each = ', '.join(
      f'{name} {100 * sum(values) / len(values):.2f}'
      for name, values in value['each'].items()
    )
    lines.append(
      f'{role} on corrupted images, mean of all: {100 * value["mean"]:.2f} '
      f'({each})'
    )
  for role, checks in content.get('obfuscation', {}).items():
    passed = sum(check['passed'] for check in checks.values())
    lines.append(
      f'{role}, masked gradients: {passed} of {len(checks)} checks pass'
    )
    for name, check in checks.items():
      values = ', '.join(
        f'{k} {100 * v:.2f}' for k, v in check['values'].items()
      )
      verdict = 'passed' if check['passed'] else 'FAILED'
      lines.append(f'  {verdict} {name.replace("_", " ")}: {values}')
      if not check['passed']:
        lines.append(f'    {check["why"]}')
  return '\n'.join(lines)
