"""Small things that tests share: a tiny config, tiny nets, real digits."""

import contextlib
import functools
import pathlib
import tempfile

import jax
import numpy as np

from peeraid_jax import config as config_lib
from peeraid_jax import data as data_lib
from peeraid_jax import models, nets
from peeraid_jax.data import batches
from peeraid_jax.runtime import parallel
from peeraid_jax.training import build
from peeraid_jax.training import step as step_lib


def folder(test) -> pathlib.Path:
  """A folder that is gone when the test has ended."""
  made = tempfile.TemporaryDirectory()
  test.addCleanup(made.cleanup)
  return pathlib.Path(made.name)


def class_folder(case) -> pathlib.Path:
  """A folder that is gone when the tests of a class have ended."""
  made = tempfile.TemporaryDirectory()
  case.addClassCleanup(made.cleanup)
  return pathlib.Path(made.name)


@contextlib.contextmanager
def compilations():
  """Yields a list that grows by one with each program that XLA compiles."""
  found = []

  def listen(event, duration, **kwargs):
    del duration, kwargs
    if event.endswith('backend_compile_duration'):
      found.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield found
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


def config(method: str = 'peeraid', **overrides):
  """A config that trains a tiny net on digits in seconds.

  Args:
    method: a key of `methods.METHODS`.
    **overrides: 'train__epochs=2' sets config.train.epochs.
  """
  made = config_lib.base(
    method=method, student='tiny', peer='tiny', teacher='tiny'
  )
  made.awp.start_epoch = 0
  made.data.name = 'digits'
  made.data.padding = 1
  made.data.flip = False
  made.data.train_examples = 40
  made.data.validation_examples = 20
  made.model.width = 4
  made.attack.epsilon = 0.1
  made.attack.step_size = 0.05
  made.attack.steps = 2
  made.train.batch_size = 16
  made.train.log_every_steps = 1
  made.eval.attacks = ('clean', 'pgd2')
  made.eval.select_attack = 'pgd2'
  made.eval.examples = 20
  made.eval.batch_size = 16
  config_lib.set_decays(made, epochs=3, decays=(1,))
  for name, value in overrides.items():
    *path, field = name.split('__')
    functools.reduce(lambda c, n: c[n], path, made)[field] = value
  return made


@functools.cache
def digits(count: int = 40) -> data_lib.Dataset:
  """The first test digits, read once."""
  return data_lib.load('digits', split='test').take(slice(0, count))


def net(seed: int = 0, *, classes: int = 10, axis_name=None) -> nets.Net:
  """A tiny network for 8x8 grey images."""
  module = models.create(
    'tiny', num_classes=classes, width=4, axis_name=axis_name
  )
  return nets.create(module, jax.random.key(seed), (8, 8, 1))


class Stepper:
  """A method's compiled step with its data, on a number of devices."""

  def __init__(self, made, *, devices: int = 1, wrap=None):
    self.devices = jax.devices()[:devices]
    self.config = made
    # An epoch of four steps.
    self.plan = build.plan(made, examples=4 * made.train.batch_size)
    step = build.train_step(self.plan)
    step = wrap(step) if wrap else step
    self._step = step_lib.map_train_step(step, devices=self.devices)
    self._data = parallel.replicate(
      build.resident(self.plan, digits()), self.devices
    )
    self._key = jax.random.key(made.seed)

  def start(self) -> step_lib.State:
    """The config's initial state."""
    return parallel.replicate(build.initial_state(self.plan), self.devices)

  def rows(self, index: int) -> batches.Rows:
    """The batch of a step."""
    order = batches.epoch_order(0, index, 40, 16)[0]
    position = np.arange(16, dtype=np.int32)
    parts = self.config.train.microbatches
    return batches.Rows(
      parallel.split(order, self.devices, parts=parts),
      parallel.split(position, self.devices, parts=parts),
    )

  def take(self, state, steps: int, *, repeat=False):
    """Takes steps; returns the last state and every step's metrics."""
    told = []
    for _ in range(steps):
      rows = self.rows(0 if repeat else int(state.step))
      state, metrics = self._step(state, rows, self._data, self._key)
      told.append(jax.device_get(metrics))  # Blocks: see parallel.must_block.
    return state, told
