"""Compiles and runs the attacks, at fixed batch sizes, over all devices."""

import functools
import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from peeraid_jax import images as images_lib
from peeraid_jax.attacks import projections
from peeraid_jax.autoattack import suite
from peeraid_jax.runtime import parallel

# Queries of Square per call; progress is reported between calls.
CHUNK = 500
# Predictions per image of a network that draws random numbers; the majority
# decides.
VOTES = 20
# (relative, absolute) tolerance of the radius for float32: x + epsilon is
# rounded near 1, and L2 and L1 sum thousands of rounded terms.
_ROUNDING = {'Linf': (0, 1e-6), 'L2': (1e-5, 1e-6), 'L1': (1e-5, 1e-6)}


class Prediction(NamedTuple):
  """What a network says about a batch of images.

  Attributes:
    classes: int [B], -1 where there is no prediction (`images.predicted`).
    finite: bool [B], whether all logits are finite.
    label_logits: float32 [B], the logit of the label.
  """

  classes: np.ndarray
  finite: np.ndarray
  label_logits: np.ndarray


def as_argument(logits_fn: Callable) -> jax.tree_util.Partial:
  """Returns a function that can be an argument of a compiled one.

  The arguments of a `jax.tree_util.Partial`, such as a network, are not
  compiled into the program: networks of one architecture share it.
  """
  if isinstance(logits_fn, jax.tree_util.Partial):
    return logits_fn
  return jax.tree_util.Partial(logits_fn)


@functools.cache
def _compiled(part: str, settings: suite.Settings, devices):
  """Compiles a part of the evaluation, once per settings and devices.

  Args:
    part: 'logits', 'square_begin', 'square_advance', or an attack but Square.
    settings: of the attacks.
    devices: tuple.

  Returns:
    ((network, number of the stage or query), arrays [devices, B, ...], ...)
    -> arrays. The first two are one argument because pmap needs an array in
    each, and a function without parameters holds none.
  """
  if part == 'logits':

    def function(shared, images, keys):
      logits_fn, _ = shared
      if settings.samples > 1:
        return logits_fn(images, keys)
      return logits_fn(images)

    split = (False, True, True)
  elif part == 'square_begin':
    begin = suite.square_begin(settings)
    function = lambda shared, *points: begin(shared[0], *points)
    split = (False, True, True, True)
  elif part == 'square_advance':
    advance = suite.square_advance(settings, CHUNK)
    function = lambda shared, *points: advance(shared[0], *points, shared[1])
    split = (False, True, True, True, True)
  else:
    stage = suite.stage(part, settings)
    function = lambda shared, *points: stage(shared[0], *points, shared[1])
    split = (False, True, True, True)
  return parallel.pmap(function, split=split, out=True, devices=devices)


@jax.jit
def _keys(key, part_code, index, image_codes):
  """Returns one key per image, for a part of the evaluation and a stage."""
  key = jax.random.fold_in(jax.random.fold_in(key, part_code), index)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, image_codes)


class Engine:
  """Runs the network and the attacks on batches of points.

  A batch is given by `rows`, the numbers of its points, int [B].

  Args:
    networks: (logits_fn, which decides; the function that attacks search
      with, or None for the same one).
    images: float32 [N, H, W, C].
    labels: int32 [N].
    settings: of the attacks.
    key: of all noise; None is jax.random.key(0).
    batch_size: over all devices; rounded up to a multiple of their number.
    devices: None takes all local ones.
  """

  def __init__(
    self, networks, images, labels, settings, key, batch_size, devices=None
  ):
    self.images, self.labels, self.settings = images, labels, settings
    self.key = jax.random.key(0) if key is None else key
    # Noise depends on the content of an image, not on its position.
    self._image_codes = np.array(
      [zlib.crc32(image.tobytes()) for image in images], np.uint32
    )
    self._devices = tuple(devices or jax.local_devices())
    self._count = len(self._devices)
    round_up = lambda size: -(-size // self._count) * self._count
    # Points left over after full batches go into small ones.
    self._small = round_up(-(-batch_size // 8))
    self._full = round_up(batch_size)
    logits_fn, search_fn = networks
    self.search_differs = search_fn is not None
    self._reference = self._place(logits_fn)
    self._search = self._reference
    if search_fn is not None:
      self._search = self._place(search_fn)

  def _place(self, function):
    """Copies a function's arrays to the devices."""
    return parallel.replicate(as_argument(function), self._devices)

  def batches(self, points: np.ndarray) -> list[np.ndarray]:
    """Cuts points into batches of two sizes, so that little is compiled.

    Args:
      points: int [P], numbers of points.
    """
    batches, start = [], 0
    while start < len(points):
      left = len(points) - start
      # A padded point costs as much as a real one: small batches are cheaper
      # than a full one that is less than half filled.
      size = self._full if left > self._full // 2 else self._small
      batches.append(points[start : start + size])
      start += size
    return batches

  def _padded(self, rows):
    """Fills a batch to its full size by repeating its last point."""
    size = self._small if len(rows) <= self._small else self._full
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])

  def _per_device(self, array):
    """[B, ...] -> [devices, B / devices, ...]."""
    return array.reshape(self._count, -1, *array.shape[1:])

  def _keys(self, part: str, index: int, rows):
    """Returns keys [devices, B / devices]."""
    part_code = zlib.crc32(part.encode()) & 0x7FFFFFFF
    image_codes = self._image_codes[rows]
    return self._per_device(_keys(self.key, part_code, index, image_codes))

  def _run(self, part: str, function, number: int, *arrays):
    """Calls a compiled part; see `_compiled`."""
    compiled = _compiled(part, self.settings, self._devices)
    return compiled((function, np.int32(number)), *arrays)

  def logits(self, rows, images=None, *, draw: int = 0) -> np.ndarray:
    """Returns the logits of a batch, by the function that decides.

    Args:
      rows: int [B], at most a full batch.
      images: [B, H, W, C]; None takes the clean images.
      draw: number of the repetition, for a network that draws random numbers.

    Returns:
      [B, K], in the function's own precision.
    """
    padded = self._padded(rows)
    images = self.images[rows] if images is None else images
    extra = np.repeat(images[-1:], len(padded) - len(rows), axis=0)
    images = np.concatenate([images, extra])
    logits = self._run(
      'logits',
      self._reference,
      draw,
      self._per_device(images),
      self._keys('logits', draw, padded),
    )
    return np.asarray(logits).reshape(len(padded), -1)[: len(rows)]

  def predict(self, rows, images=None) -> Prediction:
    """Predicts classes; by majority, for a network that draws random numbers.

    Args:
      rows: int [B], at most a full batch.
      images: [B, H, W, C]; None takes the clean images.
    """
    draws = VOTES if self.settings.samples > 1 else 1
    logits = np.stack([self.logits(rows, images, draw=d) for d in range(draws)])
    logits = logits.astype(np.float32)
    votes = images_lib.predicted(logits)
    # -1, no prediction, is voted for like a class.
    classes = np.arange(-1, logits.shape[-1])
    counts = (votes[..., None] == classes).sum(0)
    of_label = np.take_along_axis(logits, self.labels[None, rows, None], -1)
    return Prediction(
      classes=classes[counts.argmax(-1)],
      finite=np.isfinite(logits).all(axis=(0, 2)),
      label_logits=of_label[..., 0].mean(0),
    )

  def attack(
    self, name: str, index: int, rows, tick: Callable[[float], None]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Runs a stage of an attack on a batch.

    Args:
      name: one of `suite.ATTACKS`.
      index: of the stage.
      rows: int [B], at most a full batch.
      tick: called with the share that is done, between the calls of Square.

    Returns:
      (float32 [B, H, W, C] candidates, bool [B] whether the first gradient
      was exactly 0).
    """
    padded = self._padded(rows)
    points = (
      self._per_device(self.images[padded]),
      self._per_device(self.labels[padded]),
      self._keys(name, index, padded),
    )
    if name == 'square':
      images = self._square(points, tick)
      zero_gradient = np.zeros(len(padded), bool)
    else:
      images, zero_gradient = self._run(name, self._search, index, *points)
    whole = lambda v: np.asarray(v).reshape(-1, *np.shape(v)[2:])[: len(rows)]
    return whole(images), np.asarray(zero_gradient).reshape(-1)[: len(rows)]

  def _square(self, points, tick):
    """Runs Square in several calls; returns images [devices, B, H, W, C]."""
    queries = self.settings.queries
    state = self._run('square_begin', self._search, 0, *points)
    for query in range(0, queries, CHUNK):
      tick(query / queries)
      if np.all(np.asarray(state.margin) <= 0):
        break
      state = self._run('square_advance', self._search, query, *points, state)
    return state.images

  def inside(self, rows, candidates) -> np.ndarray:
    """Returns whether candidates lie in the ball and in the box, bool [B].

    Args:
      rows: int [B].
      candidates: [B, H, W, C].
    """
    delta = (candidates - self.images[rows]).reshape(len(rows), -1)
    distance = np.asarray(projections.norm_of(delta, self.settings.norm))
    relative, absolute = _ROUNDING[self.settings.norm]
    radius = self.settings.epsilon * (1 + relative) + absolute
    in_box = (candidates >= 0) & (candidates <= 1)
    return (distance <= radius) & in_box.reshape(len(rows), -1).all(-1)
