"""ONNX files of every network compute its logits in onnxruntime.

pip install -e '.[onnx]'
"""

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from peeraid_jax import models, nets
from peeraid_jax.export import formats
from tests import helpers

pytestmark = pytest.mark.slow
pytest.importorskip('onnxruntime')


class OnnxTest(parameterized.TestCase):
  @parameterized.parameters(*models.MODELS)
  def test_logits(self, name):
    module = models.create(
      name, num_classes=10, width=8, normalization='cifar10'
    )
    net = nets.create(module, jax.random.key(0), (32, 32, 3))
    # A batch in training mode, so that running statistics are not the initial
    # ones.
    images = jax.random.uniform(jax.random.key(1), (5, 32, 32, 3))
    _, net = jax.jit(lambda net: net.train(images))(net)
    path = helpers.folder(self) / 'net.onnx'
    formats.FORMATS['onnx'].write(net, (32, 32, 3), path)
    call = formats.FORMATS['onnx'].read(path, net)
    expected = nets.predict(net, images)
    # Logits of an untrained network of 70 layers are in the thousands.
    tolerance = 1e-5 * max(1, np.abs(expected).max())
    for count in (5, 1):
      np.testing.assert_allclose(
        call(images[:count]), expected[:count], atol=tolerance
      )


if __name__ == '__main__':
  absltest.main()
