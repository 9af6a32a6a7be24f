"""The export of a run: what is written, what is refused."""

from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import models
from peeraid_jax.export import formats, network
from tests import helpers
from tests.export import formats_test, runs


class NetworkTest(runs.RunTestCase):
  def test_a_file_with_other_logits_is_not_kept(self):
    path = self.folder / 'bad.safetensors'
    wrong = formats.FORMATS['safetensors']._replace(
      read=lambda path, net: lambda images: np.full((len(images), 10), np.nan)
    )
    with (
      mock.patch.dict(formats.FORMATS, safetensors=wrong),
      self.assertRaisesRegex(ValueError, 'other logits than the network'),
    ):
      network.export(self.workdir, format_name='safetensors', output=path)
    self.assertEmpty(list(self.folder.glob('*bad*')))

  def test_bad_input(self):
    with self.assertRaisesRegex(ValueError, 'role=peer: .* has student'):
      self.export('safetensors', role='peer')
    with self.assertRaisesRegex(ValueError, 'known: stablehlo, onnx'):
      network.export(self.workdir, format_name='keras')
    with self.assertRaisesRegex(FileNotFoundError, 'there is no'):
      network.export(self.workdir, output=self.folder / 'no' / 'x.stablehlo')
    with self.assertRaisesRegex(FileNotFoundError, 'not the work directory'):
      network.export(self.folder)

  def test_a_checkpoint_in_place_of_one_that_is_gone(self):
    _, card = self.export('safetensors', which='latest')
    self.assertIn('"checkpoint": "best"', card)
    self.assertIn("in place of 'latest', which is damaged or gone", card)


class OwnArchitectureTest(parameterized.TestCase):
  """A run that trained a network of the user's own."""

  def test_run(self):
    models.register('patch_net', formats_test.PatchNet, replace=True)
    folder = helpers.folder(self)
    config = helpers.config('natural', model__student='patch_net')
    workdir = runs.create_run(folder, config)
    path = network.export(workdir, format_name='stablehlo')
    card = path.with_name(path.name + '.md').read_text()
    self.assertIn('# patch_net trained by natural on digits', card)
    self.assertIn('base width 4', card)
    self.assertIn('On 64 test images its logits are within', card)
    with (
      mock.patch.object(network, '_write') as write,
      self.assertRaisesRegex(ValueError, 'use stablehlo or onnx'),
    ):
      network.export(workdir, format_name='safetensors')
    write.assert_not_called()


if __name__ == '__main__':
  absltest.main()
