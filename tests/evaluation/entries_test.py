"""Entries of results.json: what is the same measurement, and their summary."""

from absl.testing import absltest, parameterized

from peeraid_jax.evaluation import entries

THREAT = {'norm': 'L2', 'epsilon': 0.5, 'step_size': 0.1, 'restarts': 2}
BEST = {'checkpoint': 'best', 'step': 8}
LATEST = {'checkpoint': 'latest', 'step': 9}


def _entry(name='pgd2', accuracy=0.5, images=(20, 'all'), source=None):
  return entries.new(
    'attack',
    'student',
    name,
    {'accuracy': accuracy},
    settings=entries.settings(name, THREAT),
    images=images,
    sources={'student': source or BEST},
    provenance={'commit': 'c', 'device': 'd', 'versions': {}},
  )


class EntriesTest(parameterized.TestCase):
  @parameterized.parameters(
    ('clean', {}),
    ('fgsm', {'norm': 'L2', 'epsilon': 0.5}),
    ('pgd20', {**THREAT, 'steps': 20}),
    ('cw30', {**THREAT, 'steps': 30}),
    ('of_a_user', THREAT),
  )
  def test_settings_that_an_attack_depends_on(self, name, expected):
    self.assertEqual(entries.settings(name, THREAT), expected)

  def test_only_a_repetition_replaces(self):
    first = [_entry(), _entry('fgsm')]
    self.assertEqual(
      entries.added(first, _entry(accuracy=0.25)),
      [_entry(accuracy=0.25), first[1]],
    )
    for other in (
      _entry(images=(10, 'all')),
      _entry(images=(20, 'first')),
      _entry(source=LATEST),
      _entry('pgd3'),
    ):
      self.assertEqual(entries.added(first, other), [*first, other])

  def test_summary(self):
    measured = [
      _entry(accuracy=0.1),
      _entry(accuracy=0.2, images=(10, 'first')),
      _entry(accuracy=0.3, source=LATEST),
    ]
    for source, accuracy in ((BEST, 0.1), (LATEST, 0.3)):
      parts = entries.summary(measured, {'student': source})
      self.assertEqual(
        parts['roles'],
        {'student': {'pgd2': {'accuracy': accuracy, 'n': 20, 'subset': 'all'}}},
      )
    self.assertEqual(entries.summary(measured, {})['roles'], {})

  def test_labels_tell_restarts_and_what_differs(self):
    entry = _entry()
    self.assertEqual(entries.label(entry, [entry]), 'pgd2, 2 restarts')
    other = {**entry, 'settings': {**entry['settings'], 'epsilon': 0.25}}
    self.assertEqual(
      entries.label(other, [entry, other]), 'pgd2, epsilon 0.25, 2 restarts'
    )
    self.assertEqual(entries.label(_entry('clean'), [entry]), 'clean')

  @parameterized.parameters(
    (9, 'all', '9 test images'),
    (9, None, '9 test images'),
    (9, 'first', 'the first 9 test images'),
    (9, 'stratified', 'a stratified subset of 9 test images'),
    (None, 'all', 'an unknown number of test images'),
  )
  def test_images(self, n, subset, expected):
    self.assertEqual(entries.images_text(n, subset), expected)

  def test_checkpoints(self):
    self.assertEqual(entries.source_text(BEST), 'best at step 8')
    self.assertEqual(
      entries.source_text({**BEST, 'warning': 'in place of x'}),
      'best at step 8 (in place of x)',
    )
    self.assertEqual(entries.source_text({'torch': 'a.pt'}), 'the file a.pt')
    self.assertEqual(entries.source_text(None), 'an unknown checkpoint')


if __name__ == '__main__':
  absltest.main()
