"""A folder of images: its classes, its splits, and mistakes in it."""

import numpy as np
from absl.testing import absltest
from PIL import Image

from peeraid_jax import config as config_lib
from peeraid_jax import data
from peeraid_jax.config import dataset
from peeraid_jax.data import crops, folder
from tests import helpers
from tests.data import makers

COUNTS = {'bird': 12, 'cat': 9, 'dog': 14}


class FolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def load(self, split='train', **kwargs):
    return data.load(
      'folder', split=split, data_dir=str(self.folder), image_size=8, **kwargs
    )

  def test_train_and_test(self):
    makers.photographs(self.folder / 'train', COUNTS)
    makers.photographs(self.folder / 'val', {'bird': 2, 'dog': 3})
    inner = self.folder / 'train' / 'cat' / 'more'
    inner.mkdir()
    (self.folder / 'train/cat/008.jpg').rename(inner / 'a.JPG')
    (self.folder / 'train/cat/notes.txt').write_text('none')
    (self.folder / 'train/.hidden').mkdir()
    train, test = self.load('train'), self.load('test')
    self.assertEqual(train.images.shape, (35, 8, 8, 3))
    np.testing.assert_array_equal(
      np.bincount(train.labels), tuple(COUNTS.values())
    )
    np.testing.assert_array_equal(test.labels, (0, 0, 2, 2, 2))
    streamed = self.load('train', stream=True)
    self.assertIsInstance(streamed.images, data.Stored)
    np.testing.assert_array_equal(streamed.images, train.images)
    # Decode the first bird here.
    first = Image.open(self.folder / 'train' / 'bird' / '000.jpg')
    np.testing.assert_array_equal(
      train.images[0], crops.centre(first, 8, fraction=0.875)
    )

  def test_a_fifth_is_the_test_set(self):
    makers.photographs(self.folder, COUNTS)
    train, test = (self.load(s, stream=True) for s in ('train', 'test'))
    self.assertEqual((len(train.labels), len(test.labels)), (28, 7))
    self.assertTrue((np.bincount(test.labels) >= 2).all())
    whole = np.concatenate([train.images, test.images])
    self.assertLen(np.unique(whole, axis=0), 35)
    np.testing.assert_array_equal(self.load('test').images, test.images)

  def test_mistakes(self):
    def message(raises, expected, split='train'):
      with self.assertRaisesRegex(raises, expected):
        self.load(split)

    message(ValueError, 'has 0 sub-folders')
    makers.photographs(self.folder / 'train', {'cat': 2, 'dog': 1})
    (self.folder / 'train' / 'fish').mkdir()
    message(ValueError, 'fish has no image; known endings: .jpg')
    (self.folder / 'train' / 'fish').rmdir()
    (self.folder / 'test').mkdir()
    message(ValueError, 'test has no images', 'test')
    (self.folder / 'test' / 'cow').mkdir()
    message(ValueError, "no training images of class 'cow'", 'test')
    with self.assertRaisesRegex(FileNotFoundError, 'one sub-folder per class'):
      folder.classes(self.folder / 'none')
    with self.assertRaisesRegex(FileNotFoundError, "data.dir='' should be"):
      folder.classes('')
    with self.assertRaisesRegex(ValueError, 'image_size=0 should be'):
      data.load('folder', split='train', data_dir=str(self.folder))
    bad = self.folder / 'train' / 'cat' / '001.jpg'
    bad.write_bytes(b'no image')
    message(ValueError, f'{bad} does not decode .UnidentifiedImageError')

  def test_the_number_of_classes_is_counted(self):
    makers.photographs(self.folder, COUNTS)
    config = helpers.config(data__name='folder', data__dir=str(self.folder))
    config.data.image_size = 8
    config_lib.complete(config)
    self.assertEqual(dataset.facts_of(config.data).num_classes, 3)
    self.assertEqual(dataset.facts_of(config.data).shape, (8, 8, 3))
    config.data.num_classes = 4
    with self.assertRaisesRegex(ValueError, 'num_classes=4 should be 3'):
      config_lib.complete(config)


if __name__ == '__main__':
  absltest.main()
