"""The registry of data sets: entries from outside, names, resolved facts."""

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import data
from peeraid_jax.data import facts
from tests.data import makers


def _images(count: int) -> np.ndarray:
  images = np.arange(count * 64) % 256
  return images.astype(np.uint8).reshape(count, 8, 8, 1)


class RegisterTest(parameterized.TestCase):
  def test_toy(self):
    """Three facts are enough; `load` is given the options of `data.load`."""
    calls = []

    def load(split, **options):
      calls.append((split, options))
      count = {'train': 6, 'test': 3}[split]
      return data.Dataset(_images(count), np.arange(count) % 3)

    makers.register(
      self, 'mine', data.Source(shape=(8, 8, 1), num_classes=3, load=load)
    )
    train = data.load('mine', split='train')
    test = data.load(
      'mine', split='test', data_dir='/x', source='a.zip', stream=True
    )
    np.testing.assert_array_equal(train.images, _images(6))
    np.testing.assert_array_equal(train.labels, [0, 1, 2, 0, 1, 2])
    self.assertEqual(train.labels.dtype, np.int32)
    self.assertLen(test.labels, 3)
    default = {
      'data_dir': None,
      'source': '',
      'download': False,
      'stream': False,
      'image_size': 0,
      'fraction': 0.875,
      'threads': 0,
    }
    given = {**default, 'data_dir': '/x', 'source': 'a.zip', 'stream': True}
    self.assertEqual(calls, [('train', default), ('test', given)])
    self.assertIn('mine', data.SOURCES)
    self.assertEqual(data.get('mine').num_classes, 3)
    self.assertEqual(facts.class_names('mine'), ('0', '1', '2'))

  def test_unknown_names(self):
    with self.assertRaisesRegex(ValueError, "'mnist' .*known: digits"):
      data.load('mnist', split='test')
    with self.assertRaisesRegex(ValueError, 'cifar1 .*cifar100.* mean cifar1'):
      data.get('cifar1 ')
    with self.assertRaisesRegex(ValueError, "'val' should be train or test"):
      data.load('digits', split='val')

  def test_one_checksum_for_each_archive(self):
    entry = facts.get('svhn')
    self.assertLen(entry.sha256, 2)
    with self.assertRaisesRegex(ValueError, 'each of 2 archives.*it has 1'):
      data.register('mine', entry._replace(sha256=entry.sha256[:1]))

  def test_a_taken_name_is_refused(self):
    toy = data.Source((8, 8, 1), 3, load=lambda split, **options: None)
    with self.assertRaisesRegex(ValueError, "'digits' exists already"):
      makers.register(self, 'digits', toy)
    self.assertEqual(data.get('digits').num_classes, 10)
    makers.register(self, 'digits', toy, replace=True)
    self.assertIs(data.get('digits'), toy)

  def test_neither_load_nor_archives(self):
    with self.assertRaisesRegex(ValueError, "'mine' needs load=FUNCTION"):
      makers.register(self, 'mine', data.Source((8, 8, 1), 3))
    self.assertNotIn('mine', data.SOURCES)

  @parameterized.parameters(
    (np.zeros((2, 8, 8, 1)), [0, 1], r'uint8 \[N, 8, 8, 1\]; .* float64'),
    (np.zeros((2, 8, 9, 1), np.uint8), [0, 1], r'returned uint8 \[2, 8, 9, 1'),
    (_images(2), [0.0, 1.0], 'whole numbers as labels.* float64'),
    (_images(2), [0, 1, 2], r'one for each of 2 images; .* \[3\]'),
    (_images(2), [1, 3], 'between 0 and 2 .* between 1 and 3'),
  )
  def test_load_that_returns_something_else(self, images, labels, message):
    dataset = data.Dataset(images, np.array(labels))
    makers.register(
      self,
      'mine',
      data.Source((8, 8, 1), 3, load=lambda *_, **options: dataset),
    )
    with self.assertRaisesRegex(ValueError, message):
      data.load('mine', split='train')


class FactsTest(parameterized.TestCase):
  @parameterized.parameters(*facts.SOURCES)
  def test_built_in(self, name):
    entry = data.get(name)
    self.assertLen(entry.shape, 3)
    self.assertIn(len(entry.class_names), (0, entry.num_classes))
    self.assertLen(
      facts.class_names(name, num_classes=4), entry.num_classes or 4
    )
    if not entry.shape[0]:
      self.assertTrue(entry.can_stream)

  def test_open_facts_are_filled_in(self):
    given = {'image_size': 224, 'num_classes': 7}
    self.assertEqual(facts.resolve('folder', **given).shape, (224, 224, 3))
    self.assertEqual(facts.resolve('folder', **given).num_classes, 7)
    self.assertEqual(facts.resolve('imagenet', **given).num_classes, 1000)
    self.assertEqual(facts.resolve('cifar10', **given), data.get('cifar10'))


if __name__ == '__main__':
  absltest.main()
