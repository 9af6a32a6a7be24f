"""AutoAttack: the cascade of attacks that robust accuracies are quoted by.

    report = peeraid_jax.autoattack.run(logits_fn, images, labels)
    print(report.robust_accuracy, report.flags)

Every attack sees the points that all before it left robust. Algorithms,
order, iterations, targets and the decision by the predicted class are those
of the authors' package; noise is keyed by the image, so that a result does
not depend on batch size, order of the points or number of devices.

Reference:
  Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
  Ensemble of Diverse Parameter-free Attacks, 2020.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from peeraid_jax.attacks import suite
from peeraid_jax.autoattack import driver as driver_lib
from peeraid_jax.autoattack import engine as engine_lib
from peeraid_jax.autoattack import flags as flags_lib
from peeraid_jax.autoattack import state as state_lib
from peeraid_jax.autoattack.driver import Progress

ROBUST, MISCLASSIFIED = 'robust', 'misclassified'


@dataclasses.dataclass
class Report:
  """What AutoAttack found.

  Attributes:
    clean_accuracy: share of points that are classified correctly.
    accuracy_after: attack -> share of points that are robust after it. An
      attack for which no point was left is not in it.
    robust_accuracy: share of points that withstand all.
    outcome: of each point 'misclassified', 'robust', or the attack that broke
      it.
    adversarial: float32 [N, H, W, C]; misclassified images of broken points,
      the clean images of all others.
    flags: what makes the result doubtful: name -> explanation.
    settings: what was run, as JSON.
    seconds: what it took, over all resumptions.
  """

  clean_accuracy: float
  accuracy_after: dict[str, float]
  robust_accuracy: float
  outcome: list[str]
  adversarial: np.ndarray
  flags: dict[str, str]
  settings: dict[str, Any]
  seconds: float

  @property
  def counts(self) -> dict[str, int]:
    """Outcome -> number of points; they sum to all."""
    names, counts = np.unique(self.outcome, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))

  def to_json(self) -> dict[str, Any]:
    """Returns all but the images, with the counts."""
    names = [f.name for f in dataclasses.fields(self)]
    names.remove('adversarial')
    return {
      **{name: getattr(self, name) for name in names},
      'counts': self.counts,
    }


def _check(images, labels, epsilon) -> tuple[np.ndarray, np.ndarray]:
  """Returns float32 images and int32 labels.

  Raises:
    ValueError: names what is wrong and what would be right.
  """
  images, labels = np.asarray(images), np.asarray(labels)
  if images.ndim != 4 or not len(images):
    raise ValueError(
      f'images should be [N, H, W, C] with N at least 1, got {images.shape}'
    )
  if images.dtype == np.uint8:
    images = images / np.float32(255)
  images = images.astype(np.float32)
  if not (images.min() >= 0 and images.max() <= 1):
    raise ValueError(
      'images should be uint8, or floats in [0, 1]; got '
      f'[{images.min()}, {images.max()}]. Normalisation belongs into '
      'logits_fn: epsilon is in the unit of [0, 1]'
    )
  if labels.shape != images.shape[:1] or labels.dtype.kind not in 'iu':
    raise ValueError(
      f'labels should be integers [{len(images)}], got {labels.dtype} '
      f'{labels.shape}'
    )
  if not epsilon >= 0:
    raise ValueError(f'{epsilon=} should be at least 0')
  return images, labels.astype(np.int32)


def _classes(logits_fn, images, labels, draws: bool) -> int:
  """Returns the number of classes of a network, without running it.

  Raises:
    ValueError: its output is not [B, K], or a label is none of its classes.
  """
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
  shape = jax.ShapeDtypeStruct((2, *images.shape[1:]), np.float32)
  out = jax.eval_shape(logits_fn, shape, *([keys] if draws else []))
  if getattr(out, 'ndim', 0) != 2 or out.shape[0] != 2:
    raise ValueError(
      'logits_fn should give [B, K] logits of [B, H, W, C] images; of '
      f'{shape.shape} it gives {getattr(out, "shape", type(out))}'
    )
  if labels.min() < 0 or labels.max() >= out.shape[1]:
    raise ValueError(
      f'labels are in [{labels.min()}, {labels.max()}]; logits_fn has '
      f'{out.shape[1]} classes: they should be in [0, {out.shape[1] - 1}]'
    )
  return out.shape[1]


def run(
  logits_fn: Callable,
  images,
  labels,
  *,
  norm: str = 'Linf',
  epsilon: float = 8 / 255,
  version: str = 'standard',
  attacks: Sequence[str] | None = None,
  batch_size: int = 256,
  key=None,
  state_path=None,
  search_logits_fn: Callable | None = None,
  devices=None,
  tick: Callable[[Progress], None] | None = None,
  **overrides,
) -> Report:
  """Evaluates a network with AutoAttack.

  Args:
    logits_fn: float32 images [B, H, W, C] in [0, 1] -> logits [B, K]; with
      version='rand', (images, keys [B]) -> logits. A plain function is
      compiled for itself; a `jax.tree_util.Partial` of a function and a
      network shares its programs with other networks.
    images: [N, H, W, C], uint8, or floats in [0, 1].
    labels: int [N].
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius, in the unit of [0, 1].
    version: 'standard', 'plus', 'rand' (networks that draw), or 'custom'.
    attacks: of 'custom', in order: names of `attacks.suite.ATTACKS`.
    batch_size: points per call, over all devices.
    key: of the noise; jax.random.key(0) by default.
    state_path: a file to resume from; a killed evaluation goes on with the
      next batch, and ends with the same report.
    search_logits_fn: a faster function, such as one in bfloat16, to search
      with; `logits_fn` decides.
    devices: all local ones by default.
    tick: called with a `Progress` before every batch, and within long ones;
      what it raises ends the evaluation, which `state_path` can resume.
    **overrides: of `attacks.suite.Settings`, such as steps=20; the report's
      settings say so, and the result is not AutoAttack's.

  Returns:
    A `Report`.

  Raises:
    ValueError: bad input, or a state of another evaluation; before anything
      is compiled.
    OSError: the state cannot be written.
  """
  images, labels = _check(images, labels, epsilon)
  if (version == 'custom') != (attacks is not None):
    raise ValueError(
      f"{attacks=} and {version=}: 'custom', and no other version, needs a "
      'list of attacks'
    )
  logits_fn = engine_lib.as_argument(logits_fn)
  classes = _classes(logits_fn, images, labels, version == 'rand')
  settings = suite.settings_of(
    version, norm=norm, epsilon=epsilon, classes=classes
  )
  unknown = set(overrides) - set(settings._fields)
  if unknown:
    raise ValueError(
      f'{", ".join(sorted(unknown))} unknown; known: '
      f'{", ".join(settings._fields)}'
    )
  # What only just fools a coarse search often does not fool the reference:
  # there, the iterate after all steps is taken.
  settings = settings._replace(stop_early=search_logits_fn is None)
  settings = settings._replace(**overrides)
  attacks = tuple(attacks or suite.VERSIONS[version])
  for name in attacks:
    suite.stages(name, settings)
  if classes < 2 or epsilon == 0:
    attacks = ()
  key = jax.random.key(0) if key is None else key
  told = {
    'version': version,
    'attacks': list(attacks),
    'changed': sorted(overrides),
    **settings._asdict(),
    'key': np.asarray(jax.random.key_data(key)).tolist(),
    'searched_with_another_function': search_logits_fn is not None,
  }
  if 'square' in attacks and norm != 'Linf' and min(images.shape[1:3]) < 5:
    raise ValueError(
      f'Square in {norm} lays a grid of 5x5 tiles: images of '
      f'{images.shape[1]}x{images.shape[2]} are too small'
    )
  digest = state_lib.fingerprint(told, images, labels)
  store = state_lib.Store(state_path, digest, images)
  engine = engine_lib.Engine(
    logits_fn,
    search_logits_fn,
    images,
    labels,
    settings,
    key=key,
    batch_size=batch_size,
    devices=devices,
  )
  driver = driver_lib.Driver(engine, attacks, store, tick)
  flags = flags_lib.few_classes(classes)
  first = engine.batches(np.arange(len(labels)))[0]
  flags |= flags_lib.of_first_batch(engine, first, draws=settings.samples > 1)
  flags |= driver.clean_pass()
  driver.attack_all()
  progress = driver.progress
  flags |= flags_lib.of_outcome(
    progress['accuracy_after'],
    zero_gradients=progress['zero_gradients'],
    not_finite=len(progress['not_finite']),
    unconfirmed=progress['unconfirmed'] if search_logits_fn else 0,
  )
  names = (ROBUST, MISCLASSIFIED, *attacks)
  return Report(
    clean_accuracy=progress['clean'] / len(labels),
    accuracy_after=progress['accuracy_after'],
    robust_accuracy=float(np.mean(driver.outcome == 0)),
    outcome=[names[code] for code in driver.outcome],
    adversarial=np.array(store.adversarial),
    flags=flags,
    settings=told,
    seconds=round(driver.seconds, 1),
  )
