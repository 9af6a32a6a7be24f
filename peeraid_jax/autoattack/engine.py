"""The compiled parts of the cascade, at fixed shapes, over all devices."""

import functools
import zlib
from collections.abc import Callable

import jax
import numpy as np

from peeraid_jax import parallel
from peeraid_jax.attacks import projections, suite

# Queries of Square in one call: between calls, signals and progress.
CHUNK = 500
# Predictions that a network that draws is judged by.
VOTES = 20
# What float32 adds to a distance: x + epsilon is rounded at 1. L2 and L1 sum
# thousands of rounded terms.
_ROUNDING = {'Linf': (0, 1e-6), 'L2': (1e-5, 1e-6), 'L1': (1e-5, 1e-6)}


def as_argument(logits_fn: Callable) -> jax.tree_util.Partial:
  """Returns a function that can be an argument of a compiled one.

  A `jax.tree_util.Partial` with a network as its argument is not compiled
  into the program: networks of one architecture share it.
  """
  if isinstance(logits_fn, jax.tree_util.Partial):
    return logits_fn
  return jax.tree_util.Partial(logits_fn)


@functools.cache
def _mapped(part: str, settings: suite.Settings, devices):
  """Compiles a part of the cascade, once per settings and devices.

  Its first argument is a pair of the network and the number of a stage or
  query: pmap confuses the axes of arguments if one, as a function without
  parameters is, has no arrays at all.
  """
  if part == 'logits':

    def function(shared, images, keys):
      fn, _ = shared
      return fn(images, keys) if settings.samples > 1 else fn(images)

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
def _keys(key, code, index, points):
  key = jax.random.fold_in(jax.random.fold_in(key, code), index)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, points)


class Engine:
  """Runs parts of the cascade on rows of a data set.

  Args:
    logits_fn: the reference; it decides.
    search_fn: what the attacks search with; the reference if None.
    images: float32 [N, H, W, C].
    labels: int32 [N].
    settings: of the attacks.
    key: of all noise.
    batch_size: global; rounded up to a multiple of the devices.
    devices: all local ones if None.
  """

  def __init__(
    self,
    logits_fn,
    search_fn,
    images,
    labels,
    settings,
    *,
    key,
    batch_size,
    devices=None,
  ):
    self.images, self.labels, self.settings = images, labels, settings
    self._key = key
    # Noise belongs to an image, wherever it stands among the points.
    self._codes = np.array(
      [zlib.crc32(image.tobytes()) for image in images], np.uint32
    )
    self._devices = tuple(devices or jax.local_devices())
    self._count = len(self._devices)
    whole = lambda size: -(-size // self._count) * self._count
    # What is left after full batches goes into small ones.
    self._small, self._full = whole(-(-batch_size // 8)), whole(batch_size)
    self._reference = self._place(logits_fn)
    self._search = self._reference
    if search_fn is not None:
      self._search = self._place(search_fn)

  def _place(self, function):
    return parallel.replicate(as_argument(function), self._devices)

  def batches(self, points: np.ndarray) -> list[np.ndarray]:
    """Cuts points into batches; at most two sizes are ever compiled."""
    found, start = [], 0
    while start < len(points):
      left = len(points) - start
      # Half-full batches are not worth it: padding costs as points do.
      size = self._full if left > self._full // 2 else self._small
      found.append(points[start : start + size])
      start += size
    return found

  def _padded(self, rows):
    """Fills a batch up with repeats of its last point."""
    size = self._small if len(rows) <= self._small else self._full
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows))])

  def _fold(self, array):
    return array.reshape(self._count, -1, *array.shape[1:])

  def _keys(self, name: str, index: int, rows):
    code = zlib.crc32(name.encode()) & 0x7FFFFFFF
    return self._fold(_keys(self._key, code, index, self._codes[rows]))

  def _run(self, part, function, number: int, *arguments):
    mapped = _mapped(part, self.settings, self._devices)
    return mapped((function, np.int32(number)), *arguments)

  def logits(self, rows, images=None, *, draw: int = 0) -> np.ndarray:
    """Returns the reference's logits of a batch.

    Args:
      rows: int [B], at most a batch.
      images: [B, H, W, C]; the points themselves if None.
      draw: of a network that draws.

    Returns:
      [B, K], as the reference gives them.
    """
    padded = self._padded(rows)
    images = self.images[rows] if images is None else images
    extra = np.repeat(images[-1:], len(padded) - len(rows), axis=0)
    images = np.concatenate([images, extra])
    out = self._run(
      'logits',
      self._reference,
      draw,
      self._fold(images),
      self._keys('logits', draw, padded),
    )
    return np.asarray(out).reshape(len(padded), -1)[: len(rows)]

  def predict(self, rows, images=None) -> tuple[np.ndarray, np.ndarray]:
    """Returns classes [B], and whether their logits are finite [B].

    A network that draws is judged by the majority of its predictions.
    """
    draws = VOTES if self.settings.samples > 1 else 1
    every = np.stack([self.logits(rows, images, draw=d) for d in range(draws)])
    finite = np.isfinite(every.astype(np.float32)).all(axis=(0, 2))
    votes = every.argmax(-1)
    counts = (votes[..., None] == np.arange(every.shape[-1])).sum(0)
    return counts.argmax(-1), finite

  def attack(
    self, name: str, index: int, rows, tick: Callable[[float], None]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Runs a stage of an attack on a batch.

    Args:
      name: one of `suite.ATTACKS`.
      index: of the stage.
      rows: int [B], at most a batch.
      tick: called with the share that is done, between the parts of a long
        stage.

    Returns:
      (float32 [B, H, W, C] candidates, bool [B] whether the first gradient
      was exactly 0).
    """
    padded = self._padded(rows)
    points = (
      self._fold(self.images[padded]),
      self._fold(self.labels[padded]),
      self._keys(name, index, padded),
    )
    if name == 'square':
      state = self._run('square_begin', self._search, 0, *points)
      for query in range(0, self.settings.queries, CHUNK):
        tick(query / self.settings.queries)
        if np.all(np.asarray(state.margin) <= 0):
          break
        state = self._run('square_advance', self._search, query, *points, state)
      images, zero = state.images, np.zeros(len(padded), bool)
    else:
      images, zero = self._run(name, self._search, index, *points)
    flat = lambda v: np.asarray(v).reshape(-1, *np.shape(v)[2:])
    images = flat(images)[: len(rows)]
    return images, np.asarray(zero).reshape(-1)[: len(rows)]

  def inside(self, rows, candidates) -> np.ndarray:
    """Whether candidates lie in the ball and in the box, bool [B]."""
    delta = (candidates - self.images[rows]).reshape(len(rows), -1)
    distance = np.asarray(projections.norm_of(delta, self.settings.norm))
    relative, absolute = _ROUNDING[self.settings.norm]
    radius = self.settings.epsilon * (1 + relative) + absolute
    boxed = (candidates >= 0) & (candidates <= 1)
    return (distance <= radius) & boxed.reshape(len(rows), -1).all(-1)
