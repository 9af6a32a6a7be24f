"""Exports: each format says what the network says; the card says what it is."""

import json
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax import build, checkpoint, data, nets, parallel, results
from peeraid_jax import config as config_lib
from peeraid_jax.export import files, formats
from tests import helpers

SOURCE = {'checkpoint': 'best', 'step': 0}


def workdir_of(folder, config):
  """A work directory whose networks are as they were initialised."""
  workdir = folder / 'run'
  workdir.mkdir()
  results.write(workdir / 'config.json', config_lib.to_json(config))
  state = parallel.replicate(build.state(config))
  checkpoint.save(workdir, state, {'best': {}}, which='best')
  return workdir


class ExportTest(chex.TestCase, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    cls.config = helpers.config(
      'ltd', model__student_temperature=2.0, dtype='bfloat16'
    )
    cls.config.model.normalization = 'half'
    cls.workdir = workdir_of(cls.folder, cls.config)
    net = checkpoint.restore(cls.workdir, which='best').nets['student']
    # What is written computes in float32.
    cls.net = net.replace(module=net.module.clone(dtype=np.float32))
    cls.images = data.load('digits', split='test').images[:7] / np.float32(255)

  def _export(self, kind, **kwargs):
    path = self.folder / f'{self.id()}{formats.FORMATS[kind].suffix}'
    made = files.export(self.workdir, kind=kind, output=path, **kwargs)
    return made, path.with_name(path.name + '.md').read_text()

  def test_programs_for_other_machines(self):
    """What is written has none of the forms that are made for a CPU."""
    net, images = helpers.net(), jnp.zeros((1, 8, 8, 1))
    ours = jax.make_jaxpr(nets.logits_fn(net))(images)
    self.assertIn('custom_vjp', str(ours))
    written = jax.make_jaxpr(formats._float32(net))(images)
    self.assertNotIn('custom_vjp', str(written))

  @parameterized.parameters('stablehlo', 'safetensors')
  def test_logits_are_those_of_the_network(self, kind):
    path, card = self._export(kind)
    call = formats.FORMATS[kind].read(path, self.net)
    expected = jax.jit(lambda x: self.net.eval(x).logits)(self.images)
    for count in (7, 1):
      np.testing.assert_allclose(
        call(self.images[:count]), expected[:count], atol=1e-5
      )
    self.assertIn('On 64 test images its logits are within', card)

  @parameterized.parameters(('onnx', 'onnxruntime'), ('torch', 'torch'))
  def test_formats_of_extras(self, kind, library):
    try:
      __import__(library)
    except ImportError:
      with self.assertRaisesRegex(ImportError, 'pip install'):
        self._export(kind)
      return
    path, card = self._export(kind)
    self.assertIn(path.name, card)

  def test_card(self):
    _, card = self._export('safetensors')
    self.assertIn('Not measured', card)
    self.assertIn('normalised by half', card)
    self.assertIn('# tiny trained by ltd on digits', card)
    self.assertIn(f'{nets.count_params(self.net):,} parameters', card)
    value = {'accuracy': 0.75, 'n': 20}
    strong = {
      'settings': {'version': 'standard'},
      'robust_accuracy': 0.125,
      'n': 16,
      'flags': {'zero_gradient': 'some gradients are zero'},
    }
    content = {
      'selection': {'on': 'test', 'roles': {'student': SOURCE}},
      'roles': {'student': {'clean': value}},
      'autoattack': {'student': {'autoattack': strong}},
      'device': 'a machine',
      'commit': 'abc',
    }
    path = self.workdir / 'results.json'
    self.addCleanup(path.unlink)
    path.write_text(json.dumps(content))
    _, card = self._export('safetensors')
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
    path.write_text(json.dumps(content))
    self.assertIn('Not measured', self._export('safetensors')[1])

  def test_a_file_that_says_something_else_is_not_kept(self):
    path = self.folder / 'bad.safetensors'
    wrong = formats.FORMATS['safetensors']._replace(
      read=lambda path, net: lambda images: np.full((len(images), 10), np.nan)
    )
    with (
      mock.patch.dict(formats.FORMATS, safetensors=wrong),
      self.assertRaisesRegex(ValueError, 'other logits than the network'),
    ):
      files.export(self.workdir, kind='safetensors', output=path)
    self.assertEmpty(list(self.folder.glob('*bad*')))

  def test_bad_input(self):
    with self.assertRaisesRegex(ValueError, 'role=peer: .* has student'):
      self._export('safetensors', role='peer')
    with self.assertRaisesRegex(FileNotFoundError, "no 'latest' checkpoint"):
      self._export('safetensors', which='latest')
    with self.assertRaisesRegex(ValueError, 'known: stablehlo, onnx'):
      files.export(self.workdir, kind='keras')
    with self.assertRaisesRegex(FileNotFoundError, 'there is no'):
      files.export(self.workdir, output=self.folder / 'no' / 'x.stablehlo')
    with self.assertRaisesRegex(FileNotFoundError, 'not the work directory'):
      files.export(self.folder)


if __name__ == '__main__':
  absltest.main()
