"""The README: its examples work and its pictures exist."""

import contextlib
import io
import pathlib
import re
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest

from peeraid_jax import methods
from tests import helpers

README = pathlib.Path(__file__).parent.parent / 'README.md'


class ReadmeTest(absltest.TestCase):
  def test_pictures_are_there(self):
    sources = re.findall(r'src(?:set)?="([^"]+)"', README.read_text())
    self.assertNotEmpty(sources)
    for source in sources:
      self.assertTrue((README.parent / source).exists(), source)

  def test_the_method_of_the_example_trains(self):
    example = re.search(
      r'<!-- example: begin -->\n```python\n(.*?)```', README.read_text(), re.S
    )
    module = {'__name__': 'alp'}
    exec(example[1], module)
    # Removes the method from the registry afterwards.
    with mock.patch.dict(methods.METHODS._entries):
      methods.register('alp', module['alp'], module['FACTS'])
      config = helpers.config('alp')
      self.assertEqual(config.method.kwargs.to_dict(), {'pairing': 0.5})
      stepper = helpers.Stepper(config)
      _, metrics = stepper.take(stepper.start(), 30, repeat=True)
    losses = [m['loss'] for m in metrics]
    self.assertLess(np.mean(losses[-5:]), np.mean(losses[:5]))
    self.assertIn('student/loss_pairing', metrics[0])

  def test_python_blocks_run(self):
    """The blocks run; a tiny network stands in for that of a finished run."""
    blocks = re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
    restore, attack, autoattack = blocks[:3]
    state = mock.Mock(nets={'student': helpers.net()})
    names = {}
    with mock.patch('peeraid_jax.checkpoint.restore', return_value=state):
      exec(restore, names)
    self.assertEqual(names['logits'].shape, (360, 10))
    exec(attack, names)
    images = names['test'].images[:64] / 255
    self.assertLess(float(abs(names['adv'] - images).max()), 0.1 + 1e-6)
    self.assertIsInstance(names['adv'], jax.Array)
    # Few steps, to save time; another test runs the command in full.
    autoattack = autoattack.replace(
      'epsilon=0.1', 'epsilon=0.1, steps=3, queries=9'
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
      exec(autoattack, names)
    self.assertIn('misclassified', printed.getvalue())
    self.assertEqual(sum(names['report'].counts.values()), 20)


if __name__ == '__main__':
  absltest.main()
