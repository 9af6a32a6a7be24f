"""The table of a run's accuracies on the terminal."""

import functools

from absl.testing import absltest

from peeraid_jax.evaluation import entries, table


class TableTest(absltest.TestCase):
  def test_accuracies_and_transfer(self):
    value = lambda accuracy: {'accuracy': accuracy, 'n': 50}
    text = table.table(
      {
        'roles': {
          'student': {'clean': value(0.9), 'pgd20': value(0.4567)},
          'peer': {'clean': value(1.0)},
        },
        'transfer': {'peer_on_student_pgd20': value(0.5)},
      }
    )
    self.assertRegex(text, r'on 50 test images')
    self.assertRegex(text, r'student +90\.00 +45\.67')
    self.assertRegex(text, r'peer +100\.00')
    self.assertIn(
      'peer on images that attack student pgd20: 50.00 on 50 images', text
    )

  def test_other_parts(self):
    check = {'values': {'pgd20': 0.4, 'fgsm': 0.3}, 'why': 'the reason'}
    text = table.table(
      {
        'roles': {'student': {'clean': {'accuracy': 0.9, 'n': 50}}},
        'autoattack': {
          'student': {
            'apgd_ce': {
              'robust_accuracy': 0.25,
              'clean_accuracy': 0.9,
              'n': 20,
              'flags': {'few_classes': 'an explanation'},
            }
          }
        },
        'corruptions': {
          'student': {'mean': 0.5, 'n': 50, 'each': {'fog': [0.6, 0.4]}}
        },
        'obfuscation': {
          'student': {
            'first_check': {**check, 'passed': True},
            'second_check': {**check, 'passed': False},
          }
        },
      }
    )
    self.assertEqual(
      text.splitlines()[3:],
      [
        'student, apgd_ce on 20 images (the first): 25.00 (clean 90.00)',
        '  few_classes: an explanation',
        'student on corrupted images, mean of all: 50.00 (fog 50.00) on 50 '
        'images each',
        'student, masked gradients: 1 of 2 checks pass, on an unknown number '
        'of images',
        '  passed first check: pgd20 40.00, fgsm 30.00',
        '  FAILED second check: pgd20 40.00, fgsm 30.00',
        '    the reason',
      ],
    )

  def test_different_images_are_in_different_tables(self):
    entry = functools.partial(
      entries.new,
      'attack',
      'student',
      sources={},
      provenance={},
    )
    settings = {'epsilon': 0.1, 'restarts': 1}
    measured = [
      entry('clean', {'accuracy': 0.5}, settings={}, images=(9, 'stratified')),
      entry('clean', {'accuracy': 0.75}, settings={}, images=(50, 'all')),
      entry('pgd2', {'accuracy': 0.25}, settings=settings, images=(50, 'all')),
      entry(
        'pgd2',
        {'accuracy': 0.0},
        settings=settings | {'restarts': 5},
        images=(50, 'all'),
      ),
    ]
    text = table.table({'evaluations': measured})
    self.assertEqual(
      text.splitlines(),
      [
        'accuracy in % on 50 test images',
        '              clean  pgd2, 1 restarts  pgd2, 5 restarts',
        'student       75.00             25.00              0.00',
        'accuracy in % on a stratified subset of 9 test images',
        '              clean',
        'student       50.00',
      ],
    )


if __name__ == '__main__':
  absltest.main()
