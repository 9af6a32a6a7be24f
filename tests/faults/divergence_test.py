"""Training that diverges: what is kept is good, and the advice is possible."""

import re
import shlex

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax.runtime import parallel
from peeraid_jax.runtime import workdir as workdir_lib
from peeraid_jax.training import build, checkpoint, divergence, loop
from tests import helpers

METHOD = 'natural'


class CheckTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.state = parallel.replicate(
      build.initial_state(build.plan(helpers.config(METHOD)))
    )

  def _with(self, value, *, role='student', part='params'):
    """The state with one number of a network replaced."""
    net = self.state.nets[role]
    leaves, tree = jax.tree.flatten(getattr(net, part))
    leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(value)
    net = net.replace(**{part: tree.unflatten(leaves)})
    return self.state.replace(nets={**self.state.nets, role: net})

  @parameterized.parameters(np.nan, np.inf, -np.inf, 1e37, -3e7)
  @pytest.mark.fault('divergence', count=2)
  def test_weights(self, value):
    for role in ('student', 'student_swa'):
      with self.assertRaisesRegex(
        FloatingPointError, f'step 0: {role}/weights not finite or above 1.6'
      ):
        divergence.check(self._with(value, role=role))

  @pytest.mark.fault('divergence', count=3)
  def test_statistics_and_optimizers(self):
    with self.assertRaisesRegex(FloatingPointError, 'student/batch_stats not'):
      divergence.check(self._with(np.nan, part='batch_stats'))
    momentum = jax.tree.map(
      lambda x: x.at[(0,) * x.ndim].set(np.inf) if x.ndim else x,
      self.state.opt_states,
    )
    with self.assertRaisesRegex(FloatingPointError, 'student/optimizer not'):
      divergence.check(self.state.replace(opt_states=momentum))
    with self.assertRaisesRegex(FloatingPointError, 'student/weights'):
      net = self.state.nets['student']
      params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), net.params)
      bad = jax.tree.map(lambda x: x * np.nan, params)
      divergence.check(
        self.state.replace(nets={'student': net.replace(params=bad)})
      )

  def test_what_is_no_divergence(self):
    divergence.check(self.state)
    divergence.check(self._with(1e6))
    # Running variances grow with the square of the weights.
    divergence.check(self._with(1e9, part='batch_stats'))
    # This one keeps the lowest loss so far, infinite in the beginning.
    plateau = optax.contrib.reduce_on_plateau().init({})
    states = {'student': (self.state.opt_states['student'], plateau)}
    divergence.check(self.state.replace(opt_states=states))


class TrainTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def _train(self, name, method=METHOD, **overrides):
    config = helpers.config(method, **overrides)
    workdir = self.folder / name
    workdir.mkdir(exist_ok=True)
    workdir_lib.prepare(config, workdir)
    data = helpers.digits()
    plan = build.plan(config, examples=len(data.labels))
    scores = {'select/student/pgd2': 0.5}
    loop.train(plan, workdir, data, lambda state, tick: scores)

  def _diverge(self, name, **overrides):
    with self.assertRaises(FloatingPointError) as caught:
      self._train(
        name,
        train__checkpoint_every_steps=1,
        optimizer__student__decay_epochs=(),
        **overrides,
      )
    return str(caught.exception)

  @pytest.mark.fault('divergence', count=2)
  def test_the_checkpoint_that_is_kept_is_good(self):
    # The rate rises from 0 and is huge from the second step on.
    huge = {'optimizer__student__learning_rate': 3e37}
    text = self._diverge('late', optimizer__student__warmup_epochs=1, **huge)
    self.assertRegex(text, r'^step 2: ')
    self.assertIn('keeps its checkpoint of step 1, from before it', text)
    self.assertNotIn('\n', text)
    state = checkpoint.restore(self.folder / 'late')
    self.assertEqual(int(state.step), 1)
    divergence.check(state)
    text = self._diverge('at_once', **huge)
    self.assertRegex(text, r'^step 1: student/weights not finite or above')
    self.assertIn('Nothing was saved before it', text)
    self.assertIsNone(checkpoint.latest_step(self.folder / 'at_once'))

  @pytest.mark.fault('divergence')
  def test_the_advice_can_be_followed(self):
    """The directory keeps its config; the flags name another one."""
    text = self._diverge('a b', optimizer__student__learning_rate=1e30)
    flags = dict(
      flag.removeprefix('--').split('=')
      for flag in shlex.split(
        re.search(r"such as (--workdir='.*' --config\S+);", text)[1]
      )
    )
    rate = float(flags['config.optimizer.student.learning_rate'])
    self.assertEqual(rate, 1e29)
    self.assertEqual(flags['workdir'], f'{self.folder}/a b-lower-rate')
    with self.assertRaisesRegex(ValueError, 'made with another config'):
      self._train('a b', optimizer__student__learning_rate=0.1)
    self._train('a b-lower-rate', optimizer__student__learning_rate=0.1)

  @pytest.mark.fault('divergence')
  def test_a_signal_after_divergence_saves_nothing(self):
    """What is saved at an interruption is checked as well."""
    plan = build.plan(helpers.config(METHOD), examples=40)
    state = build.initial_state(plan)
    net = state.nets['student']
    params = jax.tree.map(lambda x: x * np.inf, net.params)
    nets = {**state.nets, 'student': net.replace(params=params)}
    trainer = loop._Trainer(plan, self.folder, helpers.digits(), None)
    with self.assertRaises(FloatingPointError):
      trainer.save(state.replace(nets=nets), {})
    self.assertIsNone(checkpoint.latest_step(self.folder))


if __name__ == '__main__':
  absltest.main()
