"""The model card of an exported file: its origin, accuracies and use."""

import json
from typing import Any, NamedTuple

from peeraid_jax import config as config_lib
from peeraid_jax import nets
from peeraid_jax.config import dataset
from peeraid_jax.export import formats
from peeraid_jax.runtime import results


class Exported(NamedTuple):
  """A file that was written, and the network in it.

  Attributes:
    role: of the network in its run.
    source: the checkpoint that the network comes from, as JSON.
    teachers: role -> where a teacher of the run comes from, as JSON.
    net: the network.
    file_format: of the file.
    file_name: without its folder.
    digest: SHA-256 of the file.
    compared: number of images on which the file was compared with the network.
    difference: the largest absolute difference of a logit on these images;
      None if there were none.
  """

  role: str
  source: dict[str, Any]
  teachers: dict[str, Any]
  net: nets.Net
  file_format: formats.Format
  file_name: str
  digest: str
  compared: int
  difference: float | None

  @property
  def config_role(self) -> str:
    """The role whose fields of the config describe the network.

    Averaged weights (`student_swa`) are those of the student's architecture.
    """
    return self.role.removesuffix('_swa')


def _read_results(workdir, exported: Exported) -> dict[str, Any] | None:
  """Returns the run's results if they were measured on the exported weights.

  A teacher has the same weights in every checkpoint.
  """
  content = results.read(workdir)
  if content is None:
    return None
  measured = content['selection']['roles'].get(exported.role)
  if measured == exported.source or exported.role == 'teacher':
    return content
  return None


def _accuracy_rows(content: dict[str, Any], role: str) -> list[str]:
  """Returns the rows of the table: attack, accuracy, number of images."""
  rows = [
    f'| {attack} | {100 * value["accuracy"]:.2f} % | {value["n"]} |'
    for attack, value in content['roles'].get(role, {}).items()
  ]
  for attack, value in content.get('autoattack', {}).get(role, {}).items():
    rows.append(
      f'| {attack} ({value["settings"]["version"]}) | '
      f'{100 * value["robust_accuracy"]:.2f} % | {value["n"]} |'
    )
    rows += [
      f'| - flag: {flag} | {reason} | |'
      for flag, reason in value['flags'].items()
    ]
  return rows


def _threat_model(config) -> str:
  """Returns norm and radius of the attacks in words."""
  attack = config.attack
  radius = f'{attack.epsilon:g}'
  if attack.norm == 'Linf':
    radius = f'{attack.epsilon * 255:g}/255'
  return f'{attack.norm}, epsilon {radius} of pixels in [0, 1]'


def _accuracy_section(config, workdir, exported: Exported) -> list[str]:
  content = _read_results(workdir, exported)
  rows = [] if content is None else _accuracy_rows(content, exported.role)
  if content is None or not rows:
    return [
      'Not measured. `python -m peeraid_jax.main --mode=evaluate` on its work '
      'directory does so; then export it again.'
    ]
  selection_set = {
    'test': 'the test set itself, as the authors of the method did: its '
    'accuracies are somewhat too high',
    'validation': 'held-out training images',
  }[content['selection']['on']]
  return [
    f'On the test set of {config.data.name}; {_threat_model(config)}.',
    '',
    '| attack | accuracy | images |',
    '| --- | ---: | ---: |',
    *rows,
    '',
    f'The checkpoint was chosen on {selection_set}. Measured on '
    f'{content["device"]}, commit {content["commit"]}. PGD and CW are upper '
    'bounds of the robust accuracy; AutoAttack is the tighter one. Nothing is '
    'known of other attacks, norms, radii and data.',
  ]


def _training_section(config, exported: Exported) -> list[str]:
  options = json.dumps(config.method.kwargs.to_dict(), sort_keys=True)
  lines = [
    f'- method: {config.method.name} ({options})',
    f'- data: {config.data.name}, '
    f'{config.data.train_examples or "all"} training images',
    f'- {config.train.epochs} epochs, batches of {config.train.batch_size}, '
    f'seed {config.seed}',
    f'- trained against: {_threat_model(config)}, {config.attack.steps} steps '
    f'of {config.attack.step_size:g}',
    f'- checkpoint: {json.dumps(exported.source, sort_keys=True)}',
  ]
  for role, teacher in exported.teachers.items():
    origin = {k: v for k, v in teacher.items() if k != 'accuracies'}
    lines.append(f'- {role}: {json.dumps(origin, sort_keys=True)}')
  return lines


def _use_section(config, exported: Exported) -> list[str]:
  settings = config_lib.network(config, exported.config_role)
  normalised = ''
  if settings.normalization != 'none':
    normalised = f', normalised by {settings.normalization} (mean / std)'
  images = exported.file_format.images.format(
    normalization=normalised, architecture=settings.architecture
  )
  logits = f'logits [N, {dataset.facts_of(config.data).num_classes}]'
  if settings.temperature != 1:
    logits += (
      f', divided by the temperature {settings.temperature:g} of its training'
    )
  comparison = 'The file was not compared with the network.'
  if exported.difference is not None:
    comparison = (
      f'On {exported.compared} test images its logits are within '
      f"{exported.difference:.1e} of the network's."
    )
  return [
    f'It takes images {images}, and returns {logits}.',
    '',
    '```python',
    exported.file_format.usage.format(name=exported.file_name),
    '```',
    '',
    f'{comparison} SHA-256 {exported.digest}. Exported by commit '
    f'{results.commit()}.',
  ]


def make(config, workdir, exported: Exported) -> str:
  """Returns a model card as Markdown.

  Args:
    config: of the run.
    workdir: of the run; the card quotes its results.
    exported: the file and its network.
  """
  settings = config_lib.network(config, exported.config_role)
  data = dataset.facts_of(config.data)
  height, width, channels = data.shape
  lines = [
    f'# {settings.architecture} trained by {config.method.name} on '
    f'{config.data.name}',
    '',
    f'`{exported.file_name}`: the {exported.role} of a run of peeraid_jax, as '
    f'{exported.file_format.name}. {nets.count_params(exported.net):,} '
    f'parameters, {data.num_classes} classes, images of {height}x{width} with '
    f'{channels} channels, base width {settings.width}.',
    '',
    '## Accuracy',
    '',
    *_accuracy_section(config, workdir, exported),
    '',
    '## Training',
    '',
    *_training_section(config, exported),
    '',
    '## Use',
    '',
    *_use_section(config, exported),
    '',
  ]
  return '\n'.join(lines)
