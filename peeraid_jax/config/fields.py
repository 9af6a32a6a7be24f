"""Every field of a config: default, valid values and meaning, in one table.

`base` builds configs from this table, `validate` checks them by it, `--help`
and docs/config.md list it, and resuming a run reads from it which fields may
have changed since.

A name may hold `{role}` (each network of the run), `{trained}` (those that
are trained), `{partner}` (those that train beside the student) or `{teacher}`
(fixed networks): such a row stands for one field per network.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from peeraid_jax.config import rules
from peeraid_jax.config.rules import (
  anything,
  assignments,
  number,
  one_of,
  some_of,
  whole,
)


class Field(NamedTuple):
  """One row of the table.

  Attributes:
    name: dotted, below `config`.
    default: its value in `base`; None: `base` fills it in.
    rule: what it may be; or config -> rule.
    meaning: in words, with the unit.
    free: whether it may differ between a run and its resumption or
      evaluation, since it does not change what is trained.
  """

  name: str
  default: Any
  rule: rules.Rule | Callable[[Any], rules.Rule]
  meaning: str
  free: bool = False


# Networks of a run that are evaluated; 'student_swa' is the averaged student.
OWN_ROLES = ('student', 'student_swa', 'peer')
_FLAG = one_of(True, False)
_TEXT = anything('a text')
_FREE = True
# Beyond these, a typing error is likelier than enough memory.
_WIDEST = 1024
_LARGEST_BATCH = 2**17

# fmt: off
FIELDS: tuple[Field, ...] = (
  Field('seed', 0, whole(0, 2**31 - 1), 'Seed of initial parameters, batches and noise.'),
  Field('dtype', 'float32', rules.dtype, 'Data type of the computation; parameters are float32.'),

  Field('data.name', 'cifar10', rules.data_set, 'The data set.'),
  Field('data.dir', '', _TEXT, "Folder of prepared data sets, or of your own images; '' is $TFDS_DATA_DIR, else TFDS's own.", _FREE),
  Field('data.source', '', _TEXT, 'Archive to prepare from, if it is not in data.dir.', _FREE),
  Field('data.download', False, _FLAG, 'Download a missing archive from its public address.', _FREE),
  Field('data.train_examples', 0, whole(0), 'Stratified subset of the training images; 0: all.'),
  Field('data.validation_examples', 1000, whole(1), "Training images held out if eval.select_on='validation'."),
  Field('data.padding', 4, rules.padding, 'Pixels of zeros around an image before a random crop; 0: no crop.'),
  Field('data.flip', True, _FLAG, 'Mirror half of the training images.'),
  Field('data.rotation', 0.0, number(0, 180), 'Largest angle of random rotations, in degrees; 0: none.'),
  Field('data.stream', False, _FLAG, 'Read images from disk batch by batch, instead of keeping them on the device.'),
  Field('data.threads', 0, whole(0, 1024), 'Threads per process that decode streamed images; 0: one per core.', _FREE),
  Field('data.crop', 'pad', one_of('pad', 'resized'), "Random crops: of the padded image, or, of streamed images, 'resized': a part of random area and aspect, scaled."),
  Field('data.crop_area', (0.08, 1.0), rules.shares(), "Smallest and largest area of a 'resized' crop, as a share of the image."),
  Field('data.image_size', 0, rules.image_size, 'Height and width that images of any size are scaled and cut to: at least 8 for imagenet and folder, 0 for the others.'),
  Field('data.centre_fraction', 0.875, rules.positive(1), 'Centre crop of images of any size: share of the scaled shorter side that is kept (0.875: scale to 256, keep 224).'),
  Field('data.num_classes', 0, whole(0), 'Number of classes of a folder of images; 0: counted.'),

  Field('model.{role}', None, rules.model, 'Architecture of the network of that role.'),
  Field('model.width', 64, whole(1, _WIDEST), 'Base channels of all networks; 64 is the published network.'),
  Field('model.normalization', 'none', rules.normalization(), 'Normalization of the input, inside all networks.'),
  Field('model.torch', '', _TEXT, 'PyTorch file that the student starts from, or that --mode=evaluate looks at. It defines the architecture.'),
  Field('model.torch_key', '', _TEXT, 'Which of several networks in model.torch.'),
  Field('model.remat', False, _FLAG, 'Rematerialisation: keep only the inputs of blocks and compute the rest again for gradients: less memory, 20 % (WideResNet) to 43 % (ResNet-18) more work.'),
  Field('model.{partner}_from', '', _TEXT, 'Work directory of a run whose student this network starts from.'),

  Field('roles.{role}.width', 0, whole(0, _WIDEST), 'Base channels of that network; 0: model.width.'),
  Field('roles.{role}.normalization', '', rules.normalization(''), "Normalization of that network's input; '': model.normalization, or what its PyTorch file says."),
  Field('roles.{role}.temperature', 1.0, rules.positive(), 'Temperature that divides the logits of that network, in training, attacks and inference.'),

  Field('method.name', None, anything(), 'The method; chosen in the argument of the config file.'),
  Field('method.kwargs', None, anything(), "The method's hyperparameters."),

  Field('attack.norm', 'Linf', rules.norm, 'Norm of the ball of allowed perturbations.'),
  Field('attack.epsilon', 8 / 255, rules.radius, 'Radius of the ball, in the unit of the pixel range [0, 1].'),
  Field('attack.step_size', 2 / 255, rules.radius, 'Length of an attack step, in the unit of the pixel range [0, 1].'),
  Field('attack.steps', 10, whole(1), 'Gradient steps of the training attack.'),
  Field('attack.start', 'normal', rules.start, "Start of the training attack: Gaussian noise, 'uniform' in the ball, or 'none'."),
  Field('attack.start_scale', 0.001, number(0), 'Standard deviation of the noise if attack.start is normal, in the unit of [0, 1].'),

  Field('train.epochs', 300, whole(1), 'Length of the run.'),
  Field('train.batch_size', 128, whole(1, _LARGEST_BATCH), 'Images per step, over all devices.'),
  Field('train.microbatches', 1, whole(1), 'Parts of a batch whose gradients are summed: less memory. Batch norm normalises each part by its own statistics.'),
  Field('train.log_every_steps', 50, whole(1), 'Steps between two records of metrics.', _FREE),
  Field('train.checkpoint_every_steps', 0, whole(0), 'Steps between two checkpoints within an epoch; 0: only at its end.', _FREE),

  Field('optimizer.{trained}.name', 'sgd', _TEXT, "Optimizer: 'sgd' (PyTorch's), 'adamw', or a registered one."),
  Field('optimizer.{trained}.learning_rate', 0.1, number(0), 'Base learning rate.'),
  Field('optimizer.{trained}.momentum', 0.9, number(0, 1), 'Momentum of SGD.'),
  Field('optimizer.{trained}.nesterov', False, _FLAG, 'Nesterov momentum (SGD, AdamW).'),
  Field('optimizer.{trained}.weight_decay', 2e-4, number(0), 'Weight decay; it applies to every parameter.'),
  Field('optimizer.{trained}.options', (), assignments("('b1=0.95',)"), 'Other settings of the optimizer, as texts such as b1=0.95.'),
  Field('optimizer.{trained}.schedule', 'piecewise', _TEXT, "Learning rate: 'piecewise' constant, 'cosine', 'one_cycle', or a registered schedule."),
  Field('optimizer.{trained}.warmup_epochs', 0.0, number(0), 'Epochs of a linear rise from 0 at the start of the run.'),
  Field('optimizer.{trained}.decay_epochs', (214, 259, 284), rules.epochs(), "Epochs (from 0) that begin with a lower rate, of 'piecewise'."),
  Field('optimizer.{trained}.decay_factor', 0.1, number(0, 1), 'Factor of the rate at each of the decay epochs.'),
  Field('optimizer.{trained}.schedule_options', (), assignments("('final=0.01',)"), 'Other settings of the schedule, as texts such as final=0.01.'),

  Field('distributed.mode', 'auto', one_of('auto', 'on', 'off'), "Join other processes: where the environment announces some ('auto'; JAX_COORDINATOR_ADDRESS, srun, mpirun, TPU pods), always, or never.", _FREE),
  Field('distributed.coordinator', '', _TEXT, 'HOST:PORT of process 0.', _FREE),
  Field('distributed.processes', 0, whole(0), 'Number of processes; 0: from the environment.', _FREE),
  Field('distributed.process', -1, whole(-1), 'Index of this process, from 0; -1: from the environment.', _FREE),
  Field('distributed.timeout_seconds', 300, whole(1), 'How long to wait for the other processes at the start; one that does not answer for that long, at most 60 s, counts as dead.', _FREE),

  Field('awp.enabled', False, _FLAG, 'Adversarial weight perturbation.'),
  Field('awp.gamma', 0.005, number(0), "Length of the perturbation, relative to each kernel's norm."),
  Field('awp.start_epoch', 0, whole(0), 'First epoch (from 0) in which weights are perturbed.'),
  Field('awp.roles', ('student',), anything('networks that are trained'), 'Networks whose weights are perturbed.'),

  Field('swa.enabled', True, _FLAG, 'Stochastic weight averaging of the student.'),
  Field('swa.start_epoch', 214, whole(0), 'First epoch (from 0) whose end is averaged.'),

  Field('eval.attacks', ('clean', 'fgsm', 'pgd20', 'cw30'), rules.attacks, "Final evaluation: 'clean', 'fgsm', 'pgd<steps>', 'cw<steps>'; 'autoattack' or a part of it ('apgd_ce', 'apgd_t', 'fab_t', 'square', ...); 'transfer': each network on images that attack the others; 'obfuscation': checks for masked gradients.", _FREE),
  Field('eval.roles', OWN_ROLES, some_of(*OWN_ROLES), 'Networks of the final evaluation.', _FREE),
  Field('eval.examples', 0, whole(0), 'Number of test images of the final evaluation; 0: all.', _FREE),
  Field('eval.subset', 'stratified', one_of('stratified', 'first'), "Which test images, if not all: 'stratified': of each class its share, the same for every run; or the 'first' ones.", _FREE),
  Field('eval.every_epochs', 1, whole(1), 'Epochs between two evaluations while training.'),
  Field('eval.select_on', 'validation', one_of('validation', 'test'), "Images that the best checkpoint is chosen on: held-out training images, or the test set, as some authors do."),
  Field('eval.select_attack', 'pgd10', rules.attack, 'Attack that the best checkpoint is chosen by.'),
  Field('eval.checkpoint', 'best', one_of('best', 'latest'), 'Checkpoint of the final evaluation.', _FREE),
  Field('eval.step_size', 0.0, rules.radius, 'Step of evaluation attacks, in the unit of [0, 1]; 0: attack.step_size.'),
  Field('eval.autoattack', 'standard', one_of('standard', 'plus'), "Version of AutoAttack.", _FREE),
  Field('eval.corruptions', '', _TEXT, 'Folder of CIFAR-10-C, or of files like it.', _FREE),
  Field('eval.restarts', 1, whole(1), 'Restarts of pgd and cw; the worst case counts.', _FREE),
  Field('eval.save_outcomes', False, _FLAG, 'Save per-example outcomes in outcomes.npz.', _FREE),
  Field('eval.batch_size', 256, whole(1, _LARGEST_BATCH), 'Images per call, over all devices.', _FREE),

  Field('{teacher}.workdir', '', _TEXT, "Work directory of the run that trained it; '': it is trained first, below this run's work directory."),
  Field('{teacher}.role', 'student', one_of(*OWN_ROLES), 'Which network of the run in {teacher}.workdir is the teacher.'),
  Field('{teacher}.checkpoint', 'best', one_of('best', 'latest'), 'Which checkpoint of the run in {teacher}.workdir.'),
  Field('{teacher}.torch', '', _TEXT, 'PyTorch file of the teacher, instead of a run.'),
  Field('{teacher}.torch_key', '', _TEXT, 'Which of several networks in the file {teacher}.torch.'),
  Field('{teacher}.train_config', None, rules.train_config(), "FILE:CHOICES of the config that trains the teacher; :CHOICES alone takes this run's file."),
  Field('{teacher}.train_overrides', (), assignments("('train.epochs=100',)"), 'Fields of the config {teacher}.train_config to change, as texts such as train.epochs=100.'),
  Field('teacher.initialise_student', False, _FLAG, "The student starts from the teacher's parameters."),
)
# fmt: on

# Name of a field in earlier versions -> its name now.
RENAMED = {
  'model.student_temperature': 'roles.student.temperature',
  'model.teacher_width': 'roles.teacher.width',
  'model.teacher_normalization': 'roles.teacher.normalization',
  'model.natural_teacher_width': 'roles.natural_teacher.width',
  'model.natural_teacher_normalization': 'roles.natural_teacher.normalization',
}


def expand(networks: Mapping[str, tuple[str, ...]]) -> Iterator[Field]:
  """Yields the fields of a config, one for each network of a row's pattern.

  Args:
    networks: 'role', 'trained', 'partner' and 'teacher' -> the roles of the
      run that are such.
  """
  for field in FIELDS:
    pattern = next((p for p in networks if f'{{{p}}}' in field.name), None)
    if pattern is not None:
      for role in networks[pattern]:
        yield field._replace(name=field.name.replace(f'{{{pattern}}}', role))
    elif (
      not field.name.startswith('teacher.') or 'teacher' in networks['teacher']
    ):
      yield field


def is_free(name: str) -> bool:
  """Returns whether a field may change between a run and its resumption."""
  return any(field.free and field.name == name for field in FIELDS)


def _valid(field: Field) -> str:
  """Returns what a field may be, in words."""
  if not isinstance(field.rule, rules.Rule):
    summary = (field.rule.__doc__ or '').partition('\n')[0]
    return summary.removeprefix('Accepts ').rstrip('.')
  return field.rule.expected


def _default(field: Field) -> str:
  """Returns a field's default as it would be written."""
  if isinstance(field.default, float) and field.default % 1:
    levels = field.default * 255
    if abs(levels - round(levels)) < 1e-9:
      return f'{round(levels)}/255'
  return '' if field.default is None else repr(field.default)


def as_text(*, width: int = 78) -> str:
  """Returns the table as plain text, for `--help`."""
  import textwrap

  lines = []
  for field in FIELDS:
    default = _default(field)
    lines.append(f'  --config.{field.name}' + (default and f' = {default}'))
    lines += textwrap.wrap(
      f'{field.meaning} ({_valid(field)})',
      width,
      initial_indent=' ' * 6,
      subsequent_indent=' ' * 6,
    )
  return '\n'.join(lines)


def as_markdown() -> str:
  """Returns the table as Markdown, for the documentation."""
  lines = [
    '| field | default | valid values | may change on resume | meaning |',
    '| --- | --- | --- | --- | --- |',
  ]
  for field in FIELDS:
    default = _default(field) and f'`{_default(field)}`'
    free = 'yes' if field.free else ''
    meaning = field.meaning.replace('|', '\\|').replace('<', '&lt;')
    valid = _valid(field).replace('|', '\\|').replace('<', '&lt;')
    lines.append(
      f'| `{field.name}` | {default} | {valid} | {free} | {meaning} |'
    )
  return '\n'.join(lines)
