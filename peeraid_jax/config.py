"""The config: every field once, and what its value may be.

A file of `configs/` starts from `base` and overrides. It lives in the package
so that a config file works from any folder.
"""

import difflib
import importlib.util
import json
import os
from typing import Any

import ml_collections

# Fields that may differ between a run and its resumption or evaluation: they
# do not change what is trained.
FREE = (
  'data.dir',
  'data.source',
  'data.download',
  'data.threads',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
  'eval.attacks',
  'eval.autoattack',
  'eval.examples',
  'eval.roles',
  'eval.corruptions',
  'eval.checkpoint',
  'eval.restarts',
  'eval.save_outcomes',
  'eval.batch_size',
  'distributed.mode',
  'distributed.coordinator',
  'distributed.processes',
  'distributed.process',
  'distributed.timeout_seconds',
)

# Methods that start their attack uniformly in the ball.
_UNIFORM_START = ('pgd_at', 'ard', 'iad1', 'iad2', 'akd2', 'agkd_bml')

# Method -> AWP's gamma and first epoch (from 0), as in AWP's paper.
_AWP = {'pgd_at': (0.01, 0), 'trades': (0.005, 9), 'ltd': (0.005, 9)}

# Method -> role of a teacher -> method that trains one, if none is named.
TEACHERS = {
  'ard': {'teacher': 'trades'},
  'rslad': {'teacher': 'trades'},
  'akd2': {'teacher': 'pgd_at', 'natural_teacher': 'natural'},
  'iad1': {'teacher': 'pgd_at'},
  'iad2': {'teacher': 'pgd_at', 'natural_teacher': 'natural'},
  'adaad': {'teacher': 'pgd_at'},
  'adaiad': {'teacher': 'pgd_at'},
  'ltd': {'teacher': 'natural'},
  'agkd_bml': {'teacher': 'natural'},
}
# Of a run's own networks; a run without a peer has none to evaluate.
ROLES = ('student', 'student_swa', 'peer')
TEACHER_ROLES = ('teacher', 'natural_teacher')


def base(
  *,
  method: str = 'peeraid',
  student: str = 'resnet18',
  peer: str = 'resnet18',
  teacher: str = 'resnet18',
) -> ml_collections.ConfigDict:
  """Returns every field with its default: PeerAiD's CIFAR-10 run.

  Args:
    method: a key of `methods.METHODS`; it decides which fields exist.
    student: a key of `models.MODELS`.
    peer: likewise; only for methods that have a peer.
    teacher: likewise; only for methods that have a teacher, or two.
  """
  from peeraid_jax import methods

  config = ml_collections.ConfigDict()
  config.seed = 0
  config.dtype = 'float32'  # of the computation; or 'bfloat16'

  data = config.data = ml_collections.ConfigDict()
  data.name = 'cifar10'  # a key of data.facts.DATASETS
  data.dir = ''  # prepared data sets; '' is $TFDS_DATA_DIR, else TFDS's own
  data.source = ''  # archive to prepare from, if it does not lie in data.dir
  data.download = False  # fetch a missing archive from its public address
  data.train_examples = 0  # stratified subset of the training set; 0: all
  data.validation_examples = 1000  # held out if eval.select_on='validation'
  data.padding = 4  # pixels of zeros around an image before a random crop
  data.flip = True  # mirror half of the training images
  # Images on disk, decoded as their batch comes, instead of on the device.
  data.stream = False
  data.threads = 0  # that decode then, in each process; 0: one per core
  # 'pad': a crop of the padded image; or, of streamed images, 'resized': a
  # part of random area and aspect, scaled, without padding.
  data.crop = 'pad'
  data.crop_area = (0.08, 1.0)  # of 'resized': smallest and largest part
  # Of images of any size (imagenet, folder): to what height and width
  # they are cut, and how much of the scaled shorter side is kept of those
  # that are not cropped at random. 0.875 is 224 of 256.
  data.image_size = 0
  data.centre_fraction = 0.875
  data.num_classes = 0  # of a folder; 0 counts its sub-folders

  model = config.model = ml_collections.ConfigDict()
  model.student = student
  model.width = 64  # base channels; 64 is the published network
  model.normalization = 'none'  # of the images, inside all networks
  # PyTorch file that the student starts from (or that --mode=evaluate looks
  # at), and which of several networks in it. It says which network it is.
  model.torch = ''
  model.torch_key = ''
  # Keep only what enters a block, and compute its inside again for gradients:
  # less memory, 20 % (WideResNet) to 43 % (ResNet-18) more work.
  model.remat = False

  config.method = ml_collections.ConfigDict()
  config.method.name = method
  config.method.kwargs = ml_collections.ConfigDict(methods.defaults(method))

  attack = config.attack = ml_collections.ConfigDict()
  attack.norm = 'Linf'  # or 'L2'
  attack.epsilon = 8 / 255  # radius, in units of the pixel range [0, 1]
  attack.step_size = 2 / 255  # in the same unit
  attack.steps = 10  # gradients of the training attack
  attack.start = 'normal'  # 'normal', 'uniform' in the ball, or 'none'
  attack.start_scale = 0.001  # standard deviation of the normal start
  if method in _UNIFORM_START:
    attack.start = 'uniform'

  train = config.train = ml_collections.ConfigDict()
  train.epochs = 300
  train.batch_size = 128  # global, over all devices
  # Parts of a batch whose gradients are added up: less memory. Batch norm
  # normalises each by its own statistics, and averages over its devices.
  train.microbatches = 1
  train.log_every_steps = 50
  train.checkpoint_every_steps = 0  # between epoch ends; 0: only there

  config.optimizer = ml_collections.ConfigDict()
  config.optimizer.student = _optimizer()

  distributed = config.distributed = ml_collections.ConfigDict()
  # Several processes: 'auto' joins them where the environment tells of some
  # (JAX_COORDINATOR_ADDRESS, srun, mpirun, TPU pods); 'on' does so always.
  distributed.mode = 'auto'
  distributed.coordinator = ''  # HOST:PORT of process 0
  distributed.processes = 0  # how many; 0: the environment says
  distributed.process = -1  # which one this is, from 0; -1: likewise
  distributed.timeout_seconds = 300  # to wait for the others at the start

  gamma, start_epoch = _AWP.get(method, (0.005, 0))
  awp = config.awp = ml_collections.ConfigDict()
  awp.enabled = method == 'ltd'  # adversarial weight perturbation
  awp.gamma = gamma  # its length, relative to each kernel's norm
  awp.start_epoch = start_epoch  # first perturbed one, from 0
  awp.roles = ('student',)  # networks that are perturbed

  swa = config.swa = ml_collections.ConfigDict()
  swa.enabled = True  # stochastic weight averaging of the student
  swa.start_epoch = 214  # first epoch (from 0) whose end is averaged

  evaluation = config.eval = ml_collections.ConfigDict()
  # 'clean', 'fgsm', 'pgd<steps>', 'cw<steps>', 'autoattack', or a part of it
  # ('apgd_ce', 'apgd_t', 'fab_t', 'square', ...); the eps of `attack`. And
  # 'transfer': each network on the images that attack the others (PGD-20);
  # 'obfuscation': whether gradients are masked.
  evaluation.attacks = ('clean', 'fgsm', 'pgd20', 'cw30')
  evaluation.roles = ROLES  # networks that the final one looks at
  evaluation.examples = 0  # first test images of the final one; 0: all
  evaluation.every_epochs = 1  # clean and selection attack while training
  evaluation.select_on = 'validation'  # or 'test', as the authors did
  evaluation.select_attack = 'pgd10' if method != 'natural' else 'clean'
  evaluation.checkpoint = 'best'  # evaluated at the end; or 'latest'
  evaluation.autoattack = 'standard'  # its version; or 'plus'
  evaluation.corruptions = ''  # folder of CIFAR-10-C, or one like it
  evaluation.restarts = 1  # of pgd and cw; the worst case counts
  evaluation.save_outcomes = False  # write each example's, outcomes.npz
  evaluation.batch_size = 256  # global, over all devices

  if method == 'peeraid':
    model.peer = peer
    model.peer_from = ''  # work directory of a run to start the peer from
    config.optimizer.peer = _optimizer()
  if method == 'ltd':
    model.student_temperature = 1.0  # divides its logits, always
  for role, trained_by in TEACHERS.get(method, {}).items():
    model[role] = teacher
    model[f'{role}_width'] = 0  # 0: model.width
    # '': model.normalization; of a PyTorch file, what the file or its
    # architecture says, or none.
    model[f'{role}_normalization'] = ''
    choices = f'method={trained_by},student={teacher}'
    config[role] = _teacher(f':{choices}')
  if method in TEACHERS:
    # AGKD-BML's student goes on from its teacher's parameters.
    config.teacher.initialise_student = method == 'agkd_bml'
  return config


def _teacher(train_config: str) -> ml_collections.ConfigDict:
  """Where one teacher comes from."""
  return ml_collections.ConfigDict(
    {
      # Work directory of the run that trained it; '' trains one below this
      # run's own work directory, or uses the one that is there.
      'workdir': '',
      'role': 'student',  # of that run: or 'student_swa', 'peer'
      'checkpoint': 'best',  # or 'latest'
      # A PyTorch file instead, and which of several networks in it.
      'torch': '',
      'torch_key': '',
      # FILE:CHOICES of the config that trains it; without FILE, this one's.
      'train_config': train_config,
      'train_overrides': (),  # of that config, such as ('train.epochs=100',)
    }
  )


def _optimizer() -> ml_collections.ConfigDict:
  """SGD of one role; the rate drops when an epoch (from 0) begins."""
  return ml_collections.ConfigDict(
    {
      'learning_rate': 0.1,
      'momentum': 0.9,
      'weight_decay': 2e-4,  # on every parameter
      'warmup_epochs': 0.0,  # linear, from 0
      'decay_epochs': (214, 259, 284),
      'decay_factor': 0.1,
    }
  )


def set_decays(config: ml_collections.ConfigDict, epochs: int, decays) -> None:
  """Sets the length of a run, its decays for all roles and SWA's start."""
  config.train.epochs = epochs
  for role in config.optimizer.values():
    role.decay_epochs = tuple(decays)
  config.swa.start_epoch = decays[0]


def roles(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns role -> model name of the networks in a run."""
  known = ('student', 'peer', *TEACHER_ROLES)
  return {role: config.model[role] for role in known if role in config.model}


def width(config: ml_collections.ConfigDict, role: str) -> int:
  """Returns the base channels of a role's network."""
  return config.model.get(f'{role}_width', 0) or config.model.width


def normalization(config: ml_collections.ConfigDict, role: str) -> str:
  """Returns what a role's network does to images."""
  own = config.model.get(f'{role}_normalization', '')
  return own or config.model.normalization


def temperature(config: ml_collections.ConfigDict, role: str) -> float:
  """Returns what divides the logits of a role's network."""
  return config.model.get(f'{role}_temperature', 1.0)


def load(argument: str) -> ml_collections.ConfigDict:
  """Loads a config file with its choices, as --config does.

  Args:
    argument: FILE or FILE:CHOICES.

  Raises:
    FileNotFoundError: no such file.
    ValueError: an unknown choice.
  """
  path, colon, choices = argument.partition(':')
  if not os.path.isfile(path) or not path.endswith('.py'):
    raise FileNotFoundError(f'{path!r} is not a config file')
  spec = importlib.util.spec_from_file_location('config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*([choices] if colon else []))


def flatten(config) -> dict[str, Any]:
  """Returns 'a.b.c' -> value for every field."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, dict | ml_collections.ConfigDict) and len(value):
      inner = flatten(value)
      flat.update({f'{name}.{k}': v for k, v in inner.items()})
    else:
      flat[name] = value
  return flat


def suggest(field: str, config: ml_collections.ConfigDict) -> str:
  """Says which fields an unknown one could have meant."""
  known = [f for f, v in flatten(config).items() if not isinstance(v, dict)]
  close = difflib.get_close_matches(field, known, n=3, cutoff=0.7)
  meant = f' Did you mean {" or ".join(close)}?' if close else ''
  return f'config.{field} is unknown.{meant} Known fields: {", ".join(known)}'


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns the config as JSON holds it: lists for tuples."""
  return json.loads(json.dumps(config.to_dict()))


def from_json(stored: dict[str, Any]) -> ml_collections.ConfigDict:
  """Returns the config that `to_json` was given.

  Fields that are younger than it get their defaults: they are chosen so that
  nothing changes.
  """

  def tuples(value):
    if isinstance(value, dict):
      return {k: tuples(v) for k, v in value.items()}
    return tuple(value) if isinstance(value, list) else value

  def filled(old, new):
    return {
      **new,
      **{
        k: filled(v, new[k])
        if isinstance(v, dict) and isinstance(new.get(k), dict)
        else v
        for k, v in old.items()
      },
    }

  model = stored['model']
  defaults = base(
    method=stored['method']['name'],
    student=model['student'],
    peer=model.get('peer', model['student']),
    teacher=model.get('teacher', model['student']),
  )
  return ml_collections.ConfigDict(tuples(filled(stored, defaults.to_dict())))


def differences(
  stored: dict[str, Any], given: dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns field -> (stored, given) where two configs train differently."""
  old, new = flatten(stored), flatten(given)
  return {
    field: (old.get(field, 'absent'), new.get(field, 'absent'))
    for field in sorted({*old, *new})
    if field not in FREE and old.get(field) != new.get(field)
  }
