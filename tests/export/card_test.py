"""The model card: what a file is, and the accuracies of its network."""

from absl.testing import absltest

from peeraid_jax import files, nets
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import entries
from peeraid_jax.export import card as card_lib
from peeraid_jax.training import checkpoint
from tests import helpers
from tests.export import runs

SOURCE = {'checkpoint': 'best', 'step': 0}


class CardTest(runs.RunTestCase):
  def test_description(self):
    _, card = self.export('safetensors')
    net = checkpoint.restore(self.workdir, which='best').nets['student']
    self.assertIn('Not measured', card)
    self.assertIn(
      'normalised by half (mean 0.5 and standard deviation 0.5)', card
    )
    self.assertIn('divided by the temperature 2', card)
    self.assertIn('# tiny trained by ltd on digits', card)
    self.assertIn(f'{nets.count_params(net):,} parameters', card)

  def test_accuracies(self):
    content = {
      'selection': {'on': 'test', 'roles': {'student': SOURCE}},
      'roles': {'student': {'clean': {'accuracy': 0.75, 'n': 20}}},
      'autoattack': {
        'student': {
          'autoattack': {
            'settings': {'version': 'standard'},
            'robust_accuracy': 0.125,
            'n': 16,
            'flags': {'zero_gradient': 'some gradients are zero'},
          }
        }
      },
      'device': 'a machine',
      'commit': 'abc',
    }
    path = self.workdir / 'results.json'
    self.addCleanup(path.unlink)
    files.write_json(path, content)
    _, card = self.export('safetensors')
    for line in (
      '| clean | 75.00 % | 20 |',
      '| autoattack (standard) | 12.50 % | 16 (the first) |',
      'zero_gradient',
      'epsilon 25.5/255',
      'on held-out training images',
      'commit abc',
    ):
      self.assertIn(line, card)
    # Another checkpoint's accuracies are not this one's.
    content['selection']['roles']['student'] = {'checkpoint': 'latest'}
    files.write_json(path, content)
    self.assertIn('Not measured', self.export('safetensors')[1])

  def test_every_checkpoint_has_its_own_accuracies(self):
    measured = [
      entries.new(
        'attack',
        'student',
        'pgd2',
        {'accuracy': accuracy},
        settings={'restarts': restarts},
        images=(20, 'stratified'),
        sources={'student': source},
        provenance={'device': 'a machine', 'commit': 'abc'},
      )
      for accuracy, restarts, source in (
        (0.25, 1, SOURCE),
        (0.125, 5, SOURCE),
        (0.75, 1, {'checkpoint': 'latest', 'step': 9}),
      )
    ]
    path = self.workdir / 'results.json'
    self.addCleanup(path.unlink)
    files.write_json(path, {'roles': {}, 'evaluations': measured})
    _, card = self.export('safetensors')
    self.assertIn('| pgd2, 1 restarts | 25.00 % | 20 (stratified) |', card)
    self.assertIn('| pgd2, 5 restarts | 12.50 % | 20 (stratified) |', card)
    self.assertNotIn('75.00', card)

  def test_training_images(self):
    config = helpers.config()
    for count, select_on, expected in (
      (0, 'test', 'all training images'),
      (40, 'test', '40 training images'),
      (
        0,
        'validation',
        'all training images that were left, after 20 had been held out to '
        'choose the checkpoint',
      ),
      (
        40,
        'validation',
        '40 training images, after 20 had been held out to choose the '
        'checkpoint',
      ),
    ):
      config.data.train_examples = count
      config.eval.select_on = select_on
      self.assertEqual(card_lib._training_images(config), expected)

  def test_preprocessing_and_classes(self):
    _, card = self.export('stablehlo')
    self.assertIn(
      '8x8 pixels, as in the data set. They have 1 channel, with values from 0 '
      'to 255, which are divided by 255.',
      card,
    )
    self.assertIn('which it normalises by half (mean 0.5 and', card)
    self.assertIn('Classes are numbered from 0 to 9.', card)
    data = helpers.config().data
    data.name, data.num_classes, data.image_size = 'folder', 2, 28
    self.assertIn('the shorter side has 32', dataset.preprocessing(data))
    self.assertIn('red, green, blue', dataset.preprocessing(data))
    folder = helpers.folder(self)
    for name in ('train/`<b>`', 'train/ü'):
      (folder / name).mkdir(parents=True)
    data.dir = str(folder / 'moved')
    self.assertEqual(dataset.class_names(data), ('0', '1'))
    names = dataset.class_names(data, data_dir=str(folder))
    self.assertEqual(names, ('`<b>`', 'ü'))
    self.assertIn('["`<b>`", "ü"]', card_lib._classes(names))
    data.num_classes = 3
    self.assertEqual(
      dataset.class_names(data, data_dir=str(folder)), ('0', '1', '2')
    )


if __name__ == '__main__':
  absltest.main()
