"""The table of a run's accuracies on the terminal."""

from absl.testing import absltest

from peeraid_jax.evaluation import table


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
    self.assertIn('peer on images that attack student pgd20: 50.00', text)

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
        'student, apgd_ce on 20 images: 25.00 (clean 90.00)',
        '  few_classes: an explanation',
        'student on corrupted images, mean of all: 50.00 (fog 50.00)',
        'student, masked gradients: 1 of 2 checks pass',
        '  passed first check: pgd20 40.00, fgsm 30.00',
        '  FAILED second check: pgd20 40.00, fgsm 30.00',
        '    the reason',
      ],
    )


if __name__ == '__main__':
  absltest.main()
