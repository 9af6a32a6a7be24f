"""A user's own method, model, data, optimizer, schedule and attack.

All are registered at the top of a config file outside of the package; then
the command trains, evaluates and resumes with them.
"""

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

from tests import helpers

ROOT = pathlib.Path(__file__).parent.parent

CONFIG = '''
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from sklearn import datasets

from peeraid_jax import attacks, config, data, losses, methods, models
from peeraid_jax import optimizers, recipes, schedules


class Tower(models.Network):
  """Two layers; neither batch norm nor a stem."""

  @nn.compact
  def __call__(self, images, train=False):
    features = nn.relu(nn.Conv(self.width, (3, 3), name='only')(images))
    embedding = features.mean(axis=(1, 2))
    logits = nn.Dense(self.num_classes, name='out')(embedding)
    return models.Output(logits, features, embedding)


models.register('tower', lambda **settings: Tower(**settings))


def mean_teaching(maximise, *, weight: float = 1.0):
  """A student and a partner, each trained towards the other."""

  def craft(nets, batch, keys):
    student = lambda x: nets['student'].eval(x).logits
    objective = lambda x: losses.cross_entropy(student(x), batch.labels)
    return {'images': maximise(objective, batch.images, keys)}

  def loss(nets, batch, adv):
    student_output, student = nets['student'].train(adv['images'])
    friend_output, friend = nets['friend'].train(batch.images)
    s, f = student_output.logits, friend_output.logits
    value = losses.cross_entropy(s, batch.labels).mean()
    value += losses.cross_entropy(f, batch.labels).mean()
    value += weight * losses.kl(f, s).mean()
    accuracy = methods.accuracy(s, batch.labels)
    updated = {**nets, 'student': student, 'friend': friend}
    return value, (updated, {'student/adv_accuracy': accuracy})

  return methods.Method(('student', 'friend'), (), craft, loss)


methods.register(
  'mean_teaching', mean_teaching, methods.Facts(partners=('friend',))
)


def three_digits(split, **options):
  images, labels = datasets.load_digits(n_class=3, return_X_y=True)
  images = (images * 15.9).astype('uint8').reshape(-1, 8, 8, 1)
  rows = slice(0, 400) if split == 'train' else slice(400, None)
  return data.Dataset(images[rows], labels[rows])


data.register(
  'three_digits',
  data.Source(shape=(8, 8, 1), num_classes=3, load=three_digits),
)


def sign_descent(rate, *, weight_decay: float = 0.0, scale: float = 1.0):
  sign = lambda updates, state, params: (
    jax.tree.map(lambda u: scale * jnp.sign(u), updates), state
  )
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.GradientTransformation(lambda params: optax.EmptyState(), sign),
    optax.scale_by_learning_rate(rate),
  )


optimizers.register('sign_descent', sign_descent)


def halving(learning_rate, *, epochs, steps_per_epoch):
  return optax.exponential_decay(
    learning_rate, epochs * steps_per_epoch, 0.5
  )


schedules.register('halving', halving)


def noise(*, epsilon, step_size, norm, restarts):
  def attack(logits_fn, images, labels, keys):
    draw = lambda key: jax.random.rademacher(key, images.shape[1:], float)
    return jnp.clip(images + epsilon * jax.vmap(draw)(keys), 0, 1)

  return attack


attacks.register('noise', noise)


def get_config(argument=None):
  chosen = recipes.choices(argument or 'method=mean_teaching,student=tower')
  made = config.base(**chosen)
  made.data.name = 'three_digits'
  recipes.apply(made)
  made.data.flip = False
  made.data.padding = 0
  made.model.width = 8
  made.train.batch_size = 40
  made.attack.steps = 1
  made.attack.epsilon = made.attack.step_size = 0.02
  for role in made.optimizer.values():
    role.name = 'sign_descent'
    role.options = ('scale=0.5',)
    role.schedule = 'halving'
    role.learning_rate = 0.02
  made.train.epochs = 12
  made.swa.start_epoch = 1
  made.eval.attacks = ('clean', 'noise')
  made.eval.select_attack = 'noise'
  made.eval.examples = 100
  return made
'''


class OwnPartsTest(absltest.TestCase):
  def _command(self, *arguments):
    return subprocess.run(
      [sys.executable, '-m', 'peeraid_jax.main', *arguments],
      cwd=self.folder,
      env={
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'XDG_CACHE_HOME': str(self.folder / 'cache'),
        'XLA_FLAGS': '',
      },
      capture_output=True,
      text=True,
      check=False,
    )

  def test_the_command_trains_evaluates_and_resumes_with_them(self):
    self.folder = helpers.folder(self)
    (self.folder / 'mine.py').write_text(CONFIG)
    arguments = ('--config=mine.py', '--workdir=run')
    done = self._command(*arguments)
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    self.assertIn('mean_teaching on three_digits: 400', done.stdout)
    results = json.loads((self.folder / 'run/results.json').read_text())
    self.assertEqual(set(results['roles']), {'student', 'student_swa'})
    accuracies = results['roles']['student']
    self.assertEqual(set(accuracies), {'clean', 'noise'})
    # Three classes: better than chance, whatever the seed.
    self.assertGreater(accuracies['clean']['accuracy'], 0.5)
    records = [
      json.loads(line)
      for line in (self.folder / 'run/metrics.jsonl').read_text().splitlines()
    ]
    rates = [r['friend/learning_rate'] for r in records if 'loss' in r]
    # Half per run: the last of 120 steps is at 0.5^(119 / 120).
    self.assertAlmostEqual(rates[-1], 0.02 * 0.5 ** (119 / 120), places=6)

    with self.subTest('a finished run resumes, and only evaluates'):
      done = self._command(*arguments)
      self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
      self.assertIn('resuming from step 120', done.stdout)

    with self.subTest('a name that nobody registered'):
      done = self._command(*arguments, '--config.optimizer.friend.name=lion')
      self.assertEqual(done.returncode, 1)
      self.assertIn("optimizer 'lion' is unknown; known: sgd,", done.stderr)


if __name__ == '__main__':
  absltest.main()
