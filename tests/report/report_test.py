"""Whole reports: sections, captions, numbers, and drawing without measuring."""

import re
from unittest import mock

import chex
from absl.testing import absltest

from peeraid_jax import report
from peeraid_jax.evaluation import obfuscation
from peeraid_jax.report import landscape, measure
from tests import helpers
from tests.report import sample_runs


class ReportTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    (cls.first, cls.second), cls.path = sample_runs.report_of_two(cls.folder)
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
        'How this report was made',
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
    attacked = {caption for caption in captions if 'PGD' in caption}
    self.assertGreater(len(attacked), 5)
    for caption in attacked:
      self.assertIn('25.5/255', caption)
      self.assertRegex(caption, r'\d+ test images|, test images')

  def test_accuracies_are_those_of_the_result_file(self):
    self.assertIn('62.5', self.text)
    self.assertIn('clean (360 images)', self.text)
    self.assertIn('AutoAttack (the first 16 images)', self.text)
    self.assertIn('commit abc', self.text)

  def test_checks_show_their_accuracies(self):
    _, _, section = self.text.partition('<section id="masked-gradients">')
    rows = re.findall(r'<tr>(<td>.*?)</tr>', section)
    self.assertLen(rows, 5)
    for row in rows:
      name, verdict, accuracies, _ = re.findall(r'<td.*?>(.*?)</td>', row)
      self.assertIn(verdict, ('passed', 'FAILED'))
      self.assertRegex(accuracies, r'^\S+: \d+\.\d(, \S+: \d+\.\d)+$', name)
    self.assertNotIn('built-in', self.text)

  def test_made_again_it_only_draws(self):
    with (
      mock.patch.object(measure, 'attack', side_effect=AssertionError),
      mock.patch.object(
        landscape, 'around_weights', side_effect=AssertionError
      ),
      mock.patch.object(obfuscation, 'measure', side_effect=AssertionError),
    ):
      again = report.make(
        self.first, [self.second], output=self.output, examples=20, size=3
      )
    self.assertEqual(again, self.path)

  def test_bad_input(self):
    make = lambda **options: report.make(
      self.first, output=self.output, **options
    )
    with self.assertRaisesRegex(ValueError, 'examples=0 should be'):
      make(examples=0)
    with self.assertRaisesRegex(ValueError, 'size=4 should be odd'):
      make(size=4)


if __name__ == '__main__':
  absltest.main()
