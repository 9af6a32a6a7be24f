"""Real architectures, and training long enough to see robustness."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import attacks, build, losses, models, nets, parallel
from peeraid_jax import config as config_lib
from peeraid_jax import step as step_lib
from peeraid_jax.data import batches

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent


class ArchitectureTest(parameterized.TestCase):
  @parameterized.parameters(*models.MODELS)
  def test_attack_and_training_gradients(self, name):
    """Depth as published, narrow: forward, attack, gradients of all leaves."""
    module = models.create(name, num_classes=10, width=8)
    net = nets.create(module, jax.random.key(0), (32, 32, 3))
    images = jax.random.uniform(jax.random.key(1), (4, 32, 32, 3))
    labels = jnp.arange(4)

    @jax.jit
    def run(net):
      adv = attacks.pgd(
        lambda x: net.eval(x).logits,
        images,
        labels,
        jax.random.key(2),
        epsilon=8 / 255,
        step_size=2 / 255,
        steps=2,
      )

      def loss(params):
        output, moved = net.replace(params=params).train(adv)
        return losses.cross_entropy(output.logits, labels).mean(), moved

      grads, moved = jax.grad(loss, has_aux=True)(net.params)
      return adv, grads, moved

    adv, grads, moved = run(net)
    self.assertGreater(float(jnp.abs(adv - images).max()), 4 / 255)
    for leaf in jax.tree.leaves((grads, moved)):
      self.assertTrue(np.all(np.isfinite(leaf)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
      self.assertGreater(float(jnp.abs(leaf).max()), 0, path)

  @parameterized.parameters('float32', 'bfloat16')
  def test_full_size_peeraid_step(self, dtype):
    config = config_lib.base()
    config.dtype = dtype
    config.train.batch_size = 4
    step = step_lib.compile_train_step(
      step_lib.make_train_step(
        build.method(config),
        build.optimizers(config, 10),
        padding=4,
        flip=True,
      ),
      devices=jax.devices()[:1],
    )
    devices = jax.devices()[:1]
    rng = np.random.default_rng(0)
    data = batches.Resident(
      rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
      np.arange(8, dtype=np.int32),
    )
    state = parallel.replicate(build.state(config), devices)
    rows = batches.Rows(
      parallel.split(np.arange(4, dtype=np.int32), devices),
      parallel.split(np.arange(4, dtype=np.int32), devices),
    )
    state, metrics = step(
      state, rows, parallel.replicate(data, devices), jax.random.key(0)
    )
    self.assertTrue(np.isfinite(metrics['loss']))
    self.assertEqual(nets.count_params(state.nets['student']), 11_173_962)
    for leaf in jax.tree.leaves(state.nets):
      self.assertEqual(leaf.dtype, jnp.float32)


class RobustnessTest(absltest.TestCase):
  def _accuracies(self, method):
    with tempfile.TemporaryDirectory() as folder:
      epochs = '(7,)'
      command = [
        sys.executable,
        '-m',
        'peeraid_jax.main',
        f'--config=configs/digits.py:method={method}',
        f'--workdir={folder}',
        '--config.train.epochs=10',
        f'--config.optimizer.student.decay_epochs={epochs}',
        '--config.swa.enabled=False',
        "--config.eval.attacks=('clean','pgd20')",
        '--config.eval.every_epochs=5',
      ]
      if method == 'peeraid':
        command.append(f'--config.optimizer.peer.decay_epochs={epochs}')
      environment = {
        name: value
        for name, value in os.environ.items()
        # As a user runs it: one device, optimized.
        if name not in ('XLA_FLAGS', 'JAX_DISABLE_MOST_OPTIMIZATIONS')
      }
      subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True
      )
      found = json.loads((pathlib.Path(folder) / 'results.json').read_text())
    return {
      name: value['accuracy']
      for name, value in found['roles']['student'].items()
    }

  def test_adversarial_training_is_robust_and_natural_is_not(self):
    natural = self._accuracies('natural')
    self.assertGreater(natural['clean'], 0.9)
    for method in ('pgd_at', 'peeraid'):
      found = self._accuracies(method)
      self.assertGreater(found['pgd20'], natural['pgd20'] + 0.15, method)
      self.assertGreater(found['clean'], 0.6, method)


if __name__ == '__main__':
  absltest.main()
