"""Entries of result files that were written before files listed entries.

Each evaluation replaced the accuracies of the one before, and took all test
images or the first ones.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from peeraid_jax.evaluation import entries

# Fields of a report of AutoAttack that are not a part of its result.
_OUTSIDE = ('n', 'subset', 'source', *entries.PROVENANCE)


def _threat(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the settings of attacks in the config of a result file."""
  attack, evaluation = config.get('attack', {}), config.get('eval', {})
  return {
    'norm': attack.get('norm'),
    'epsilon': attack.get('epsilon'),
    'step_size': evaluation.get('step_size') or attack.get('step_size'),
    'restarts': evaluation.get('restarts', 1),
  }


def _total(content: Mapping[str, Any]) -> int | None:
  """Returns the size of the test set; None if the file does not tell it."""
  asked = content.get('config', {}).get('eval', {}).get('examples', 0)
  counts = {
    value['n']
    for by_attack in content['roles'].values()
    for value in by_attack.values()
  }
  used = max(counts, default=0)
  # Exactly as many as were asked for may be a part of the test set.
  is_whole = not asked or used < asked
  return used if counts and is_whole else None


def read(
  content: Mapping[str, Any], total: int | None = None
) -> Iterator[entries.Entry]:
  """Yields the measurements in a result file.

  Args:
    content: of a results.json without 'evaluations'.
    total: number of test images, if it is known.
  """
  total = total or _total(content)
  threat = _threat(content.get('config', {}))
  sources = content.get('selection', {}).get('roles') or {}

  def entry(kind, role, name, result, settings, n, *, others=(), given=content):
    used = {r: sources[r] for r in (role, *others) if r in sources}
    if 'source' in given:
      used[role] = given['source']
    return entries.new(
      kind,
      role,
      name,
      result,
      settings=settings,
      images=(n, 'all' if n is None or n == total else 'first'),
      sources=used,
      provenance=given,
    )

  for role, by_attack in content['roles'].items():
    for name, value in by_attack.items():
      settings = entries.settings(name, threat)
      result = {'accuracy': value['accuracy']}
      yield entry('attack', role, name, result, settings, value['n'])
  for name, value in content.get('transfer', {}).items():
    target, _, rest = name.partition('_on_')
    # 'student' is the beginning of 'student_swa'.
    attacked = max(
      (r for r in sources if rest.startswith(r)), key=len, default=''
    )
    settings = entries.settings(rest.removeprefix(f'{attacked}_'), threat)
    result = {'accuracy': value['accuracy']}
    yield entry(
      'transfer', target, name, result, settings, value['n'], others=(attacked,)
    )
  for role, reports in content.get('autoattack', {}).items():
    for name, report in reports.items():
      settings = entries.autoattack_settings(report)
      result = {k: v for k, v in report.items() if k not in _OUTSIDE}
      yield entry(
        'autoattack', role, name, result, settings, report['n'], given=report
      )
  # These files do not say on how many images the checks were made.
  radii = {k: v for k, v in threat.items() if k != 'restarts'}
  for role, checks in content.get('obfuscation', {}).items():
    yield entry(
      'obfuscation', role, 'obfuscation', checks, radii, None, others=sources
    )
  for role, value in content.get('corruptions', {}).items():
    result = {'mean': value['mean'], 'each': value['each']}
    names = {'names': list(value['each'])}
    yield entry('corruptions', role, 'corruptions', result, names, value['n'])


def entries_of(
  content: Mapping[str, Any], total: int | None = None
) -> list[entries.Entry]:
  """Returns the measurements in a result file of any version.

  Args:
    content: of results.json; may be empty.
    total: number of test images, if it is known.
  """
  if 'evaluations' in content:
    return content['evaluations']
  return list(read(content, total)) if 'roles' in content else []
