"""AutoAttack: the sequence of attacks that measures robust accuracy.

    report = peeraid_jax.autoattack.run(logits_fn, images, labels)
    print(report.robust_accuracy, report.flags)

Every attack gets the points that all attacks before it left robust.
Algorithms, order, iterations, targets and the decision by the predicted class
are those of the authors' package. Deviation: the noise depends on the image
alone, so that a result does not depend on batch size, order of the points or
number of devices.

Reference:
  Croce and Hein, Reliable Evaluation of Adversarial Robustness with an
  Ensemble of Diverse Parameter-free Attacks, 2020.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from peeraid_jax import checks
from peeraid_jax import images as images_lib
from peeraid_jax.autoattack import driver as driver_lib
from peeraid_jax.autoattack import engine as engine_lib
from peeraid_jax.autoattack import inputs, square, suite
from peeraid_jax.autoattack import plan as plan_lib
from peeraid_jax.autoattack import state as state_lib
from peeraid_jax.autoattack import warnings as warnings_lib
from peeraid_jax.autoattack.driver import Progress

# Outcomes of points; all others are names of attacks.
ROBUST, MISCLASSIFIED = 'robust', 'misclassified'


@dataclasses.dataclass
class Report:
  """The result of AutoAttack.

  Attributes:
    clean_accuracy: share of points that are classified correctly.
    accuracy_after: attack -> share of points that are robust after it. An
      attack is missing if no point was left for it.
    robust_accuracy: share of points that withstand all attacks.
    outcome: per point 'misclassified', 'robust', or the attack that broke it.
    adversarial: float32 [N, H, W, C]; misclassified images of broken points,
      the clean images of all others.
    flags: reasons to doubt the result: name -> explanation.
    settings: of the evaluation, as JSON.
    seconds: of the evaluation, including those before interruptions.
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
    """Outcome -> number of points; the numbers sum to N."""
    names, counts = np.unique(self.outcome, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))

  def to_json(self) -> dict[str, Any]:
    """Returns everything except the images, and the counts."""
    names = [f.name for f in dataclasses.fields(self)]
    names.remove('adversarial')
    return {
      **{name: getattr(self, name) for name in names},
      'counts': self.counts,
    }


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
      compiled on its own. A `jax.tree_util.Partial` of a function and a
      network shares compiled programs with other networks.
    images: [N, H, W, C], uint8, or floats in [0, 1].
    labels: int [N].
    norm: 'Linf', 'L2' or 'L1'.
    epsilon: radius, in the unit of [0, 1].
    version: 'standard', 'plus', 'rand' (for random networks), or 'custom'.
    attacks: with 'custom', names of `suite.ATTACKS` in order.
    batch_size: points per call, over all devices.
    key: of the noise; jax.random.key(0) by default.
    state_path: JSON file; if it exists, the evaluation resumes from it.
    search_logits_fn: a faster function for the search, such as one in
      bfloat16; `logits_fn` decides.
    devices: all local devices by default.
    tick: called with a `Progress` before every batch, and within long ones;
      if it raises, the evaluation ends, and can be resumed.
    **overrides: of `suite.Settings`, such as steps=20; the result is then not
      AutoAttack's, and `Report.settings` lists the names.

  Raises:
    ValueError: bad input, or the state of another evaluation or network.
    OSError: the state cannot be written.
  """
  images, labels = inputs.check(images, labels)
  shape = images.shape[1:]
  batch_size = checks.whole('batch_size', batch_size)
  inputs.check_key(key)
  draws = plan_lib.samples_of(version, overrides) > 1
  classes = inputs.count_classes(logits_fn, shape, draws=draws)
  images_lib.check_labels(labels, count=len(images), classes=classes)
  if search_logits_fn is not None:
    name = 'search_logits_fn'
    found = inputs.count_classes(
      search_logits_fn, shape, draws=draws, name=name
    )
    if found != classes:
      raise ValueError(
        f'{name} has {found} classes, and logits_fn has {classes}'
      )
  epsilon = checks.radius('epsilon', epsilon, norm=norm, shape=shape)
  settings = suite.settings_of(
    version, norm=norm, epsilon=epsilon, classes=classes
  )
  plan = plan_lib.make(
    version, attacks, overrides, settings, search_logits_fn is None
  )
  engine = engine_lib.Engine(
    (logits_fn, search_logits_fn),
    images,
    labels.astype(np.int32),
    plan.settings,
    key,
    batch_size,
    devices,
  )
  return _evaluate(engine, plan, state_path, tick)


def _evaluate(engine, plan: plan_lib.Plan, state_path, tick) -> Report:
  """Runs a plan, or the rest of it; see `run`."""
  images, labels = engine.images, engine.labels
  if 'square' in plan.attacks:
    square.check_size(images.shape[1:], plan.settings.norm)
  settings = {
    **plan.to_json(),
    'key': np.asarray(jax.random.key_data(engine.key)).tolist(),
    'searched_with_another_function': engine.search_differs,
  }
  digest = state_lib.fingerprint(settings, images, labels)
  store = state_lib.Store(state_path, digest, images)
  driver = driver_lib.Driver(engine, plan.attacks, store, tick)
  flags = warnings_lib.check_classes(plan.settings.classes)
  first_batch = engine.batches(np.arange(len(labels)))[0]
  flags |= warnings_lib.check_first_batch(engine, first_batch)
  flags |= driver.clean_pass()
  driver.attack_all()
  progress = driver.progress
  flags |= warnings_lib.check_outcome(
    progress['accuracy_after'],
    zero_gradients=progress['zero_gradients'],
    not_finite=len(progress['not_finite']),
    unconfirmed=progress['unconfirmed'] if engine.search_differs else 0,
  )
  names = (ROBUST, MISCLASSIFIED, *plan.attacks)
  return Report(
    clean_accuracy=progress['clean'] / len(labels),
    accuracy_after=progress['accuracy_after'],
    robust_accuracy=float(np.mean(driver.outcome == driver_lib.ROBUST)),
    outcome=[names[code] for code in driver.outcome],
    adversarial=np.array(store.adversarial),
    flags=flags,
    settings=settings,
    seconds=round(driver.seconds, 1),
  )
