"""Entries of results.json: what is the same measurement, and their summary."""

from absl.testing import absltest, parameterized

from peeraid_jax.evaluation import entries

THREAT = {'norm': 'L2', 'epsilon': 0.5, 'step_size': 0.1, 'restarts': 2}
BEST = {'checkpoint': 'best', 'step': 8}
LATEST = {'checkpoint': 'latest', 'step': 9}


def _entry(
  name='pgd2', accuracy=0.5, images=(20, 'all'), source=None, restarts=2
):
  return entries.new(
    'attack',
    'student',
    name,
    {'accuracy': accuracy},
    settings=entries.settings(name, {**THREAT, 'restarts': restarts}),
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
      [first[1], _entry(accuracy=0.25)],
    )
    for other in (
      _entry(images=(10, 'all')),
      _entry(images=(20, 'first')),
      _entry(source=LATEST),
      _entry('pgd3'),
    ):
      self.assertEqual(entries.added(first, other), [*first, other])

  def test_the_last_measurement_is_the_last_entry(self):
    measured = []
    for restarts in (1, 5, 1):
      entry = _entry(restarts=restarts)
      measured = entries.added(measured, entry)
      self.assertEqual(measured[-1], entry)
    self.assertLen(measured, 2)

  def test_which_entry_counts(self):
    most_images = _entry(images=(30, 'all'), restarts=1)
    ranked = [
      {**_entry(restarts=9), 'n': None},
      _entry(images=(10, 'first'), restarts=9),
      _entry(accuracy=0.1),
      _entry(accuracy=0.2),
      _entry(restarts=5),
      most_images,
    ]
    for end in range(1, len(ranked) + 1):
      self.assertEqual(entries.counting(ranked[:end]), ranked[end - 1])
    reordered = [most_images, *ranked[:-1]]
    self.assertEqual(entries.counting(reordered), most_images)

  def test_the_summary_tells_restarts(self):
    found = []
    for restarts in (1, 5, 1):
      found = entries.added(found, _entry(restarts=restarts))
    value = entries.summary(found, {'student': BEST})['roles']['student']
    self.assertEqual(value['pgd2']['restarts'], 5)
    single = entries.summary(found[1:], {'student': BEST})['roles']['student']
    self.assertNotIn('restarts', single['pgd2'])

  def test_unknown_checkpoints(self):
    entry = {**_entry(), 'sources': {}}
    self.assertFalse(entries.is_of(entry, {'student': BEST}))
    self.assertTrue(entries.is_of(entry, {}))

  def test_summary(self):
    measured = [
      _entry(accuracy=0.1),
      _entry(accuracy=0.2, images=(10, 'first')),
      _entry(accuracy=0.3, source=LATEST),
    ]
    shown = {'n': 20, 'subset': 'all', 'restarts': 2}
    for source, accuracy in ((BEST, 0.1), (LATEST, 0.3)):
      parts = entries.summary(measured, {'student': source})
      self.assertEqual(
        parts['roles'],
        {'student': {'pgd2': {**shown, 'accuracy': accuracy}}},
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
