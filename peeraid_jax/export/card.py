"""The model card of an exported file: its origin, accuracies and use."""

import json
from typing import Any, NamedTuple

from peeraid_jax import config as config_lib
from peeraid_jax import models, nets
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import earlier_files, entries
from peeraid_jax.export import formats
from peeraid_jax.runtime import progress, results


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
    class_names: in the order of the logits; numbers if they are unknown.
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
  class_names: tuple[str, ...]

  @property
  def config_role(self) -> str:
    """The role whose fields of the config describe the network.

    Averaged weights (`student_swa`) are those of the student's architecture.
    """
    return self.role.removesuffix('_swa')


def _measured(workdir, exported: Exported) -> list[entries.Entry]:
  """Returns what was measured on the exported weights, under attacks."""
  return [
    entry
    for entry in earlier_files.entries_of(_read_results(workdir))
    if entry['role'] == exported.role
    and entry['kind'] in ('attack', 'autoattack')
    and entries.own_source(entry) == exported.source
  ]


def _read_results(workdir) -> dict[str, Any]:
  """Returns the run's results; none, with a warning, if they are damaged."""
  try:
    return results.read(workdir) or {}
  except ValueError as error:
    progress.say(f'warning: {error}. The model card leaves its accuracies out')
    return {}


def _accuracy_rows(measured: list[entries.Entry]) -> list[str]:
  """Returns the rows of the table: attack, accuracy, number of images."""
  rows = []
  for entry in measured:
    label, result = entries.label(entry, measured), entry['result']
    accuracy = result.get('accuracy', result.get('robust_accuracy'))
    if entry['kind'] == 'autoattack':
      label += f' ({result["settings"]["version"]})'
    subset = entries.SUBSETS.get(entry['subset'], '')
    rows.append(f'| {label} | {100 * accuracy:.2f} % | {entry["n"]}{subset} |')
    rows += [
      f'| - flag: {flag} | {reason} | |'
      for flag, reason in result.get('flags', {}).items()
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
  measured = _measured(workdir, exported)
  if not measured:
    return [
      'Not measured. `python -m peeraid_jax.main --mode=evaluate` on its work '
      'directory does so; then export it again.'
    ]
  selection_set = {
    'test': 'the test set itself, as the authors of the method did: its '
    'accuracies are somewhat too high',
    'validation': 'held-out training images',
  }[config.eval.select_on]
  devices, commits = (
    ' and '.join(dict.fromkeys(entry[field] or 'unknown' for entry in measured))
    for field in ('device', 'commit')
  )
  return [
    f'On the test set of {config.data.name}; {_threat_model(config)}.',
    '',
    '| attack | accuracy | images |',
    '| --- | ---: | ---: |',
    *_accuracy_rows(measured),
    '',
    f'The checkpoint was chosen on {selection_set}. Measured on '
    f'{devices}, commit {commits}. PGD and CW are upper '
    'bounds of the robust accuracy; AutoAttack is the tighter one. Nothing is '
    'known of other attacks, norms, radii and data.',
  ]


def _training_images(config) -> str:
  """Says which images the run trained on."""
  count, held_out = config.data.train_examples, config.data.validation_examples
  text = f'{count or "all"} training images'
  if config.eval.select_on != 'validation':
    return text
  left = '' if count else ' that were left'
  return (
    f'{text}{left}, after {held_out} had been held out to choose the checkpoint'
  )


def _training_section(config, exported: Exported) -> list[str]:
  options = json.dumps(config.method.kwargs.to_dict(), sort_keys=True)
  lines = [
    f'- method: {config.method.name} ({options})',
    f'- data: {config.data.name}, {_training_images(config)}',
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


def _classes(names: tuple[str, ...]) -> list[str]:
  """Names the classes in the order of the logits."""
  if names == tuple(map(str, range(len(names)))):
    return [f'Classes are numbered from 0 to {len(names) - 1}.']
  listed = json.dumps(names, ensure_ascii=False)
  return ['Classes, in the order of the logits:', '', '```json', listed, '```']


def _use_section(config, exported: Exported) -> list[str]:
  settings = config_lib.network(config, exported.config_role)
  before = inside = ''
  constants = models.normalization_of(settings.normalization)
  if constants is not None:
    numbers = f'mean {constants[0]} and standard deviation {constants[1]}'
    before = f', normalised by {settings.normalization} ({numbers})'
    inside = f', which it normalises by {settings.normalization} ({numbers})'
  images = exported.file_format.images.format(
    normalization=before, inside=inside, architecture=settings.architecture
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
    dataset.preprocessing(config.data),
    '',
    *_classes(exported.class_names),
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
