"""Reports: what is measured is right, kept, and said on the page."""

import json
import re
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from peeraid_jax import attacks, losses, report, results
from peeraid_jax.attacks import projections
from peeraid_jax.report import (
  draw,
  landscape,
  measure,
  runs,
  store,
  theme,
)
from tests import export_test, helpers

THREAT = measure.Threat(0.1, 0.025, 'Linf')


def _points(count: int = 30) -> measure.Points:
  data = helpers.digits(count)
  return measure.Points(
    data.images.astype(np.float32) / 255, data.labels.astype(np.int32), 0
  )


class MeasureTest(chex.TestCase, parameterized.TestCase):
  @parameterized.parameters('Linf', 'L2')
  def test_attack_is_pgd(self, norm):
    net, (images, labels, seed) = helpers.net(), _points(10)
    # Far from 0 and 1, where PGD's own start is not clipped.
    points = measure.Points(0.45 + 0.1 * images, labels, seed)
    threat = measure.Threat(0.4, 0.1, norm)
    found, accuracies = measure.attack(net, points, threat, steps=3, looks=(3,))
    expected = attacks.pgd(
      lambda x: net.eval(x).logits,
      points.images,
      points.labels,
      jax.random.key(0),
      epsilon=0.4,
      step_size=0.1,
      steps=3,
      norm=norm,
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    right = net.eval(expected).logits.argmax(-1) == points.labels
    self.assertAlmostEqual(accuracies[0], float(right.mean()))
    far = projections.norm_of(found - points.images, norm)
    self.assertLessEqual(float(far.max()), 0.4 + 1e-6)

  def test_batches_change_nothing(self):
    net, points = helpers.net(), _points(7)
    whole = measure.attack(net, points, THREAT, steps=2, looks=(0, 2))
    outputs = measure.outputs(net, points.images)
    with mock.patch.object(measure, 'BATCH', 3):
      parts = measure.attack(net, points, THREAT, steps=2, looks=(0, 2))
      again = measure.outputs(net, points.images)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-6)
    self.assertEqual(whole[1], parts[1])
    for one, other in zip(outputs, again, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)

  def test_curves_begin_at_the_clean_accuracy(self):
    net, points = helpers.net(), _points()
    clean = float(
      (net.eval(points.images).logits.argmax(-1) == points.labels).mean()
    )
    found = measure.by_epsilon(net, points, THREAT, steps=2)
    self.assertEqual(found['epsilon'][0], 0)
    self.assertAlmostEqual(found['accuracy'][0], clean)
    self.assertLess(found['accuracy'][-1], clean)
    with mock.patch.object(measure, 'STEPS', (0, 1, 4)):
      found = measure.by_steps(net, points, THREAT)
    self.assertEqual(list(found['steps']), [0, 1, 4])
    self.assertLessEqual(found['accuracy'][-1], found['accuracy'][0])

  def test_confusion(self):
    logits = np.eye(3)[[0, 1, 1, 2]]
    found = measure.confusion(np.array([0, 0, 1, 2]), logits, 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])

  def test_checks_for_masked_gradients(self):
    all_nets = {'student': helpers.net(), 'peer': helpers.net(1)}
    points = _points(10)
    with mock.patch.object(measure, 'NOISE_DRAWS', 2):
      found = measure.masked(all_nets, 'student', points, THREAT)
    self.assertEqual(found['n'], 10)
    self.assertEqual(set(found['transfer']), {'peer'})
    self.assertEqual(list(found['by_epsilon'])[-1], 0.5)
    # One step of length epsilon, from the image.
    net = all_nets['student']
    adv = attacks.fgsm(
      lambda x: net.eval(x).logits, points.images, points.labels, epsilon=0.1
    )
    right = net.eval(adv).logits.argmax(-1) == points.labels
    self.assertAlmostEqual(found['fgsm'], float(right.mean()))


class LandscapeTest(chex.TestCase):
  def test_direction_is_as_long_as_each_filter(self):
    net = helpers.net()
    drawn = landscape.direction(net, jax.random.key(0))
    kernel, along = (
      t['stage1_block1']['conv1']['kernel'] for t in (net.params, drawn)
    )
    length = lambda v: jnp.sqrt(jnp.sum(v**2, axis=(0, 1, 2)))
    np.testing.assert_allclose(length(along), length(kernel), rtol=1e-5)
    dense = drawn['linear']['kernel']
    np.testing.assert_allclose(
      jnp.linalg.norm(dense, axis=0),
      jnp.linalg.norm(net.params['linear']['kernel'], axis=0),
      rtol=1e-5,
    )
    for leaf in (drawn['linear']['bias'], drawn['stem_norm']['scale']):
      np.testing.assert_array_equal(leaf, 0)

  def test_the_middle_is_the_network(self):
    net, points = helpers.net(), _points(10)
    logits = net.eval(points.images).logits
    loss = float(losses.cross_entropy(logits, points.labels).mean())
    found = landscape.weights(net, points, points.images, size=3)
    self.assertAlmostEqual(found['loss'][1, 1], loss, places=5)
    self.assertGreater(found['loss'].std(), 1e-3)
    found = landscape.inputs(net, points, 0.1, size=3)
    self.assertAlmostEqual(found['loss'][1, 1], loss, places=5)
    # Along the gradient's sign it rises, first along that axis.
    self.assertGreater(found['loss'][2, 1], found['loss'][1, 1])
    self.assertLess(found['loss'][0, 1], found['loss'][1, 1])
    self.assertLess(abs(found['loss'][1, 2] - loss), found['loss'][2, 1] - loss)

  def test_attacked_weights(self):
    net, points = helpers.net(), _points(10)
    found = landscape.attacked_weights(net, points, THREAT, size=3, steps=2)
    attacked, _ = measure.attack(net, points, THREAT, steps=2)
    logits = net.eval(attacked).logits
    loss = float(losses.cross_entropy(logits, points.labels).mean())
    self.assertAlmostEqual(found['loss'][1], loss, places=4)


class StoreTest(absltest.TestCase):
  def test_measured_once(self):
    folder = helpers.folder(self) / 'measured'
    kept = store.Store(folder, 'abc')
    measured = []

    def get(**settings):
      def make():
        measured.append(settings)
        return {'a': np.arange(3)}

      return kept.get('x', settings, make)

    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    get(n=2)
    self.assertEqual(measured, [{'n': 1}, {'n': 2}])
    self.assertEqual(kept.commits, {'abc'})
    # What an earlier commit measured stays its own.
    later = store.Store(folder, 'def')
    self.assertEqual(list(later.get('x', {'n': 1}, measured.append)), ['a'])
    self.assertEqual(later.commits, {'abc'})
    # Cut off, as on a full disk.
    for file in folder.glob('*.npz'):
      file.write_bytes(file.read_bytes()[:40])
    np.testing.assert_array_equal(get(n=1)['a'], range(3))
    self.assertLen(measured, 3)


class DrawTest(chex.TestCase):
  def test_light_and_dark(self):
    panel = theme.Panel(
      'a',
      'A',
      'c',
      lambda made: draw.lines(
        made, {'x': ([0, 1], [0, 1])}, x='epoch', y='y', percent=True
      ),
    )
    paths = theme.save(panel, helpers.folder(self))
    corners = {
      name: Image.open(path).convert('RGB').getpixel((0, 0))
      for name, path in paths.items()
    }
    self.assertEqual(corners, {'light': (255, 255, 255), 'dark': (13, 17, 23)})


def workdir(folder, name='run', method='peeraid', **results_of):
  """A finished run of networks as they were initialised."""
  config = helpers.config(method)
  made = export_test.workdir_of(folder / name, config)
  records = []
  for epoch in (1, 2, 3):
    records.append(
      {
        'step': 3 * epoch,
        'student/loss_ce': 2.0 / epoch,
        'student/clean_accuracy': 0.2 * epoch,
      }
    )
    records.append(
      {
        'step': 3 * epoch,
        'epoch': epoch,
        'select/student/clean': 0.3 * epoch,
        'select/student/pgd2': 0.1 * epoch,
        'select/peer_on_student_pgd2': 0.25 * epoch,
      }
    )
  lines = ''.join(json.dumps(r) + '\n' for r in records)
  (made / 'metrics.jsonl').write_text(lines)
  results.write(made / 'results.json', results_of)
  return made


RESULTS = {
  'roles': {'student': {'clean': {'accuracy': 0.625, 'n': 360}}},
  'selection': {'on': 'validation', 'roles': {}},
  'autoattack': {
    'student': {
      'autoattack': {
        'robust_accuracy': 0.25,
        'n': 16,
        'counts': {'misclassified': 4, 'apgd_ce': 8, 'robust': 4},
        'flags': {},
      }
    }
  },
  'commit': 'abc',
  'device': 'a machine',
}


def two_runs(folder):
  """Makes a report of one run beside another, with short curves.

  Returns:
    (work directories, path of the page).
  """
  for name in ('one', 'two'):
    (folder / name).mkdir()
  first = workdir(folder, 'one', **RESULTS)
  second = workdir(folder, 'two', 'pgd_at')
  with (
    mock.patch.object(measure, 'STEPS', (0, 1, 20)),
    mock.patch.object(measure, 'FACTORS', (0.0, 1.0)),
  ):
    path = report.make(
      first, [second], output=folder / 'out', examples=20, size=3
    )
  return (first, second), path


class ReportTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    (cls.first, cls.second), cls.path = two_runs(cls.folder)
    cls.output = cls.path.parent
    cls.text = cls.path.read_text()

  def test_every_section_is_there(self):
    heads = re.findall(r'<h2>(.*?)</h2>', self.text)
    self.assertEqual(
      heads,
      [
        'Accuracy',
        'Training',
        'Specialisation',
        'Robustness',
        'Examples',
        'Classes',
        'Loss landscapes',
        'Features',
        'Masked gradients',
        'What made this',
      ],
    )
    for slug in (
      'training-student', 'losses-student', 'specialisation', 'epsilon',
      'steps', 'autoattack', 'examples', 'classes', 'confusion',
      'landscape-attacked', 'landscape-weights-1', 'landscape-weights-2',
      'landscape-inputs-1', 'tsne', 'attention',
    ):  # fmt: skip
      self.assertIn(f'<figure id="{slug}">', self.text)
      for suffix in ('', '-dark'):
        self.assertTrue((self.output / f'{slug}{suffix}.png').exists())

  def test_it_is_self_contained(self):
    sources = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', self.text)
    self.assertNotEmpty(sources)
    for source in sources:
      self.assertRegex(source, r'^(data:|#)')

  def test_figures_state_data_number_and_settings(self):
    captions = re.findall(r'<figcaption>(.*?)</figcaption>', self.text)
    alts = re.findall(r'<img src="[^"]*" alt="([^"]+)"', self.text)
    self.assertLen(alts, len(captions))
    for caption in captions:
      self.assertIn('digits', caption)
    told = {c for c in captions if 'PGD' in c}
    self.assertGreater(len(told), 5)
    for caption in told:
      self.assertIn('25.5/255', caption)
      self.assertRegex(caption, r'\d+ test images|, test images')

  def test_accuracies_are_those_of_the_result_file(self):
    self.assertIn('62.5', self.text)
    self.assertIn('AutoAttack on 16', self.text)
    self.assertIn('commit abc', self.text)

  def test_made_again_it_only_draws(self):
    with (
      mock.patch.object(measure, 'attack', side_effect=AssertionError),
      mock.patch.object(landscape, 'weights', side_effect=AssertionError),
    ):
      again = report.make(
        self.first, [self.second], output=self.output, examples=20, size=3
      )
    self.assertEqual(again, self.path)

  def test_bad_input(self):
    make = lambda *others, **how: report.make(
      self.first, others, output=self.output, **how
    )
    with self.assertRaisesRegex(ValueError, 'examples=0 should be'):
      make(examples=0)
    with self.assertRaisesRegex(ValueError, 'size=4 should be odd'):
      make(size=4)
    with self.assertRaisesRegex(ValueError, 'role=student_swa: .* has student'):
      make(role='student_swa')
    with self.assertRaisesRegex(FileNotFoundError, 'not the work directory'):
      make(self.folder)
    (self.folder / 'three').mkdir()
    config = helpers.config('pgd_at', attack__epsilon=0.2)
    other = export_test.workdir_of(self.folder / 'three', config)
    with self.assertRaisesRegex(ValueError, 'its attack is'):
      make(other)

  def test_labels_differ(self):
    (self.folder / 'four').mkdir()
    same = workdir(self.folder, 'four')
    labels = [r.label for r in runs.open_all([self.first, same], 'student')]
    self.assertEqual(labels, [str(self.first), str(same)])
    labels = [
      r.label for r in runs.open_all([self.first, self.second], 'student')
    ]
    self.assertEqual(labels, ['peeraid', 'pgd_at'])


if __name__ == '__main__':
  absltest.main()
