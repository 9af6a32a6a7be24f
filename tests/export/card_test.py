"""The model card: what a file is, and the accuracies of its network."""

from absl.testing import absltest

from peeraid_jax import nets
from peeraid_jax.runtime import files
from peeraid_jax.training import checkpoint
from tests.export import runs

SOURCE = {'checkpoint': 'best', 'step': 0}


class CardTest(runs.RunTestCase):
  def test_description(self):
    _, card = self.export('safetensors')
    net = checkpoint.restore(self.workdir, which='best').nets['student']
    self.assertIn('Not measured', card)
    self.assertIn('normalised by half', card)
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
      '| autoattack (standard) | 12.50 % | 16 |',
      'zero_gradient',
      'epsilon 25.5/255',
      'test set itself',
      'commit abc',
    ):
      self.assertIn(line, card)
    # Another checkpoint's accuracies are not this one's.
    content['selection']['roles']['student'] = {'checkpoint': 'latest'}
    files.write_json(path, content)
    self.assertIn('Not measured', self.export('safetensors')[1])


if __name__ == '__main__':
  absltest.main()
