"""The measurements in results.json, one entry each, over all evaluations.

A run may be evaluated several times: by other attacks, on other images, after
more training. `evaluations` in results.json lists every measurement with what
it was made on. An entry is replaced by the same measurement alone, which is one
with the same network, attack, settings, images and checkpoint. `roles`,
`transfer`, `autoattack`, `obfuscation` and `corruptions` are a summary of the
entries: those of the checkpoints that were evaluated last.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peeraid_jax.runtime import results as results_lib

KINDS = results_lib.KINDS
# Fields that distinguish measurements.
_KEY = ('kind', 'role', 'name', 'settings', 'n', 'subset', 'sources')
# Fields that say by what it was measured.
PROVENANCE = ('commit', 'device', 'versions')
# Settings of a report of AutoAttack that distinguish it from others.
_AUTOATTACK_SETTINGS = ('version', 'norm', 'epsilon', 'steps', 'restarts')

# Part of the test set -> what is added to a number of images.
SUBSETS = {'first': ' (the first)', 'stratified': ' (stratified)'}

Entry = dict[str, Any]


def settings(name: str, threat: Mapping[str, Any]) -> dict[str, Any]:
  """Returns those settings that an attack depends on.

  Args:
    name: of the attack, such as 'pgd20'.
    threat: 'norm', 'epsilon', 'step_size' and 'restarts' of the evaluation.
  """
  if name == 'clean':
    return {}
  if name == 'fgsm':
    return {field: threat[field] for field in ('norm', 'epsilon')}
  steps = re.fullmatch(r'(?:pgd|cw)(\d+)', name)
  return dict(threat) | ({'steps': int(steps[1])} if steps else {})


def autoattack_settings(report: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the settings that distinguish a report of AutoAttack."""
  found = report.get('settings', {})
  return {field: found.get(field) for field in _AUTOATTACK_SETTINGS}


def new(
  kind: str,
  role: str,
  name: str,
  result: Mapping[str, Any],
  *,
  settings: Mapping[str, Any],
  images: tuple[int | None, str],
  sources: Mapping[str, Any],
  provenance: Mapping[str, Any],
) -> Entry:
  """Returns an entry.

  Args:
    kind: of `KINDS`.
    role: of the network that classified the images.
    name: of the attack, or of the transfer; otherwise the kind.
    result: what was measured, as JSON.
    settings: that distinguish it from measurements of the same name.
    images: (how many, which part of the test set: 'all', 'first' or
      'stratified'). How many is None if it is unknown.
    sources: role -> checkpoint, of all networks that it depends on.
    provenance: has the fields of `PROVENANCE`.
  """
  count, subset = images
  entry = {
    'kind': kind,
    'role': role,
    'name': name,
    'settings': dict(settings),
    'n': count,
    'subset': subset,
    'sources': dict(sources),
    'result': dict(result),
    **{field: provenance.get(field) for field in PROVENANCE},
  }
  # A round trip through JSON, because that turns tuples into lists.
  return json.loads(json.dumps(entry))


def own_source(entry: Entry) -> dict[str, Any] | None:
  """Returns the checkpoint of an entry's network; None if it is unknown."""
  return entry['sources'].get(entry['role'])


def _key(entry: Entry) -> str:
  """Returns a text that is the same for repetitions of a measurement."""
  return json.dumps([entry[field] for field in _KEY], sort_keys=True)


def added(entries: Sequence[Entry], entry: Entry) -> list[Entry]:
  """Adds an entry at the end, without the earlier one that it repeats."""
  return [e for e in entries if _key(e) != _key(entry)] + [entry]


def is_of(entry: Entry, sources: Mapping[str, Any]) -> bool:
  """Returns whether all networks of an entry come from these checkpoints.

  An entry of unknown checkpoints belongs to no known ones.
  """
  if not entry['sources']:
    return not sources
  return all(
    sources.get(role) == source for role, source in entry['sources'].items()
  )


def _restarts(entry: Entry) -> int:
  """Returns how often an attack was started; 1 if that is no setting of it."""
  return entry['settings'].get('restarts') or 1


def counting(entries: Iterable[Entry]) -> Entry:
  """Returns the entry that counts among some of one network and one attack.

  It is the one on the most images; of those, the one with the most restarts;
  of those, the last one.

  Raises:
    ValueError: there are no entries.
  """
  # Of equal entries, `max` returns the first.
  return max(
    reversed(list(entries)),
    key=lambda entry: (entry['n'] or 0, _restarts(entry)),
  )


def summary(
  entries: Iterable[Entry], sources: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
  """Returns the parts of results.json that summarise the entries.

  Where a network was evaluated by one attack several times, with other settings
  or on other images, the summary has the one that `counting` returns, with its
  number of restarts if that is not 1.

  Args:
    entries: of any checkpoints.
    sources: role -> the checkpoint whose entries are summarised.
  """
  parts: dict[str, dict[str, Any]] = {
    'roles': {},
    **{kind: {} for kind in KINDS[1:]},
  }
  groups: dict[tuple[str, str, str], list[Entry]] = {}
  for entry in entries:
    if is_of(entry, sources):
      place = (entry['kind'], entry['role'], entry['name'])
      groups.setdefault(place, []).append(entry)
  for (kind, role, name), group in groups.items():
    entry = counting(group)
    images = {'n': entry['n'], 'subset': entry['subset']}
    restarts = _restarts(entry)
    value = entry['result'] | images
    if restarts != 1:
      value['restarts'] = restarts
    if kind == 'attack':
      parts['roles'].setdefault(role, {})[name] = value
    elif kind == 'transfer':
      parts['transfer'][name] = value
    elif kind == 'autoattack':
      parts['autoattack'].setdefault(role, {})[name] = {
        **entry['result'],
        **images,
        'source': own_source(entry),
        **{field: entry[field] for field in PROVENANCE},
      }
    elif kind == 'obfuscation':
      parts['obfuscation'][role] = entry['result']
    else:
      parts['corruptions'][role] = entry['result'] | images
  return parts


def images_text(n: int | None, subset: str | None) -> str:
  """Says how many test images, and which: 'the first 200 test images'."""
  if n is None:
    return 'an unknown number of test images'
  if subset == 'first':
    return f'the first {n} test images'
  if subset == 'stratified':
    return f'a stratified subset of {n} test images'
  return f'{n} test images'


def source_text(source: Mapping[str, Any] | None) -> str:
  """Names a checkpoint: 'best at step 720'."""
  if not source:
    return 'an unknown checkpoint'
  if 'checkpoint' not in source:
    return f'the file {source.get("torch", "of an unknown name")}'
  warning = f' ({source["warning"]})' if 'warning' in source else ''
  return f'{source["checkpoint"]} at step {source.get("step", "?")}{warning}'


def label(entry: Entry, others: Iterable[Entry]) -> str:
  """Returns the name of an entry's attack, for the head of a column.

  Args:
    entry: of kind 'attack' or 'autoattack'.
    others: entries in the same table. Settings in which those with the same
      name differ are a part of the label, and so are restarts.
  """
  found = entry['settings']
  shown = {'restarts'} if found.get('restarts') not in (None, 1) else set()
  for other in others:
    if (other['kind'], other['name']) == (entry['kind'], entry['name']):
      shown |= {k for k, v in other['settings'].items() if found.get(k) != v}
  parts = [
    f'{found[field]} restarts'
    if field == 'restarts'
    else f'{field} {found.get(field)}'
    for field in sorted(shown)
  ]
  return ', '.join([entry['name'], *parts])
