"""The model card: what a file is, where it comes from, what it withstands."""

import json
import pathlib
from typing import Any

from peeraid_jax import config as config_lib
from peeraid_jax import nets, results, torch_io
from peeraid_jax.data import facts
from peeraid_jax.export import formats


def _results(workdir, role: str, source) -> dict[str, Any] | None:
  """Returns what is known of this very network."""
  path = pathlib.Path(workdir) / 'results.json'
  if not path.exists():
    return None
  found = json.loads(path.read_text())
  same = found['selection']['roles'].get(role) == source
  return found if same or role == 'teacher' else None


def _accuracies(found, role: str) -> list[str]:
  """Returns rows of the table: attack, accuracy, images."""
  rows = [
    f'| {name} | {100 * value["accuracy"]:.2f} % | {value["n"]} |'
    for name, value in found['roles'].get(role, {}).items()
  ]
  for name, report in found.get('autoattack', {}).get(role, {}).items():
    rows.append(
      f'| {name} ({report["settings"]["version"]}) | '
      f'{100 * report["robust_accuracy"]:.2f} % | {report["n"]} |'
    )
    rows += [
      f'| - flag: {flag} | {why} | |' for flag, why in report['flags'].items()
    ]
  return rows


def _epsilon(config) -> str:
  attack = config.attack
  text = f'{attack.epsilon:g}'
  if attack.norm == 'Linf':
    text = f'{attack.epsilon * 255:g}/255'
  return f'{attack.norm}, epsilon {text} of pixels in [0, 1]'


def _measured(config, workdir, role: str, source) -> list[str]:
  found = _results(workdir, role, source)
  rows = _accuracies(found, role) if found else []
  if not rows:
    return [
      'Not measured. `python -m peeraid_jax.main --mode=evaluate` on its work '
      'directory does so; then export it again.'
    ]
  chosen = {
    'test': 'the test set itself, as the authors of the method did: its '
    'accuracies are somewhat too high',
    'validation': 'held-out training images',
  }[found['selection']['on']]
  return [
    f'On the test set of {config.data.name}; {_epsilon(config)}.',
    '',
    '| attack | accuracy | images |',
    '| --- | ---: | ---: |',
    *rows,
    '',
    f'The checkpoint was chosen on {chosen}. Measured on {found["device"]}, '
    f'commit {found["commit"]}. PGD and CW are upper bounds of the robust '
    'accuracy; AutoAttack is the tighter one. Nothing is known of other '
    'attacks, norms, radii and data.',
  ]


def _training(config, source, teachers) -> list[str]:
  told = [
    f'- method: {config.method.name} '
    f'({json.dumps(config.method.kwargs.to_dict(), sort_keys=True)})',
    f'- data: {config.data.name}, '
    f'{config.data.train_examples or "all"} training images',
    f'- {config.train.epochs} epochs, batches of {config.train.batch_size}, '
    f'seed {config.seed}',
    f'- trained against: {_epsilon(config)}, {config.attack.steps} steps of '
    f'{config.attack.step_size:g}',
    f'- checkpoint: {json.dumps(source, sort_keys=True)}',
  ]
  for name, teacher in teachers.items():
    known = {k: v for k, v in teacher.items() if k != 'accuracies'}
    told.append(f'- {name}: {json.dumps(known, sort_keys=True)}')
  return told


def make(
  config,
  workdir,
  *,
  role: str,
  source: dict[str, Any],
  teachers: dict[str, Any],
  net: nets.Net,
  kind: str,
  name: str,
  digest: str,
  compared: tuple[int, float] | None,
) -> str:
  """Returns a model card, as Markdown.

  Args:
    config: of the run.
    workdir: of the run; its results are quoted.
    role: of the network.
    source: the checkpoint it comes from.
    teachers: role -> what taught it.
    net: the network.
    kind: a key of `formats.FORMATS`.
    name: of the file.
    digest: SHA-256 of the file.
    compared: how many images the file was compared with the network on, and
      the largest difference of a logit.
  """
  described = torch_io.describe(net)
  normalization = ''
  if described['normalization'] != 'none':
    normalization = f', normalised by {described["normalization"]} (mean / std)'
  known = facts.of(config.data)
  made = formats.FORMATS[kind]
  check = 'The file was not compared with the network.'
  if compared:
    check = (
      f'On {compared[0]} test images its logits are within {compared[1]:.1e} '
      "of the network's."
    )
  height, width, channels = known.shape
  lines = [
    f'# {described["architecture"]} trained by {config.method.name} on '
    f'{config.data.name}',
    '',
    f'`{name}`: the {role} of a run of peeraid_jax, as {kind}. '
    f'{nets.count_params(net):,} parameters, {known.num_classes} classes, '
    f'images of {height}x{width} with {channels} channels, base width '
    f'{config_lib.width(config, role.removesuffix("_swa"))}.',
    '',
    '## Accuracy',
    '',
    *_measured(config, workdir, role, source),
    '',
    '## Training',
    '',
    *_training(config, source, teachers),
    '',
    '## Use',
    '',
    'It takes images '
    + made.images.format(
      normalization=normalization, architecture=described['architecture']
    )
    + ', and returns logits [N, '
    + f'{known.num_classes}].',
    '',
    '```python',
    made.usage.format(name=name),
    '```',
    '',
    f'{check} SHA-256 {digest}. Exported by commit {results.commit()}.',
    '',
  ]
  return '\n'.join(lines)
