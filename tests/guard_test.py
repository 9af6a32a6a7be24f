"""What the step costs, without a clock.

A bound is what was found when it was written, and a tenth: whoever exceeds
one has made the step dearer. Find out why; if it is worth it, move the bound
and say so in the commit.
"""

import jax
import pytest
from absl.testing import absltest, parameterized

from experiments.benchmarks import flops, programs
from peeraid_jax import models
from tests import helpers


class WorkTest(parameterized.TestCase):
  @parameterized.parameters('resnet18', 'wideresnet10x2')
  def test_forward_equivalents(self, network):
    """Passes of an image, counted from the program and from the method.

    The peer on clean images 1; ten attack steps, forward and the gradient of
    the images, 20; three training passes, forward and two gradients, 9.
    """
    config = programs.config(network, 16, **{'train.batch_size': 64})
    module = models.create(
      network, num_classes=10, width=16, convolutions='stock'
    )
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), 'float32')
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    forward = flops.count(
      lambda v, x: module.apply(v, x).logits, variables, images
    )
    passes = programs.flops_per_image(config) / forward
    # The first convolution's images need no gradient in training.
    self.assertBetween(passes, 29.5, 30)


@pytest.mark.slow
class CompiledTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # What is compiled with fewer passes is another program.
    jax.config.update('jax_disable_most_optimizations', False)
    self.addCleanup(jax.config.update, 'jax_disable_most_optimizations', True)

  @parameterized.parameters(
    # XLA counts a loop once, here one part of one step of the attack.
    # network, width, batch, GFLOP and MB per image, temporary MiB
    # Winograd's form of convolutions does less than a plain one, and moves a
    # fifth more.
    ('resnet18', 16, 64, 0.516, 71.3, 255),
    ('wideresnet10x2', 64, 32, 0.682, 73.1, 130),
  )
  def test_costs(self, network, width, batch, work, moved, temporary):
    config = programs.config(network, width, **{'train.batch_size': batch})
    made, arguments = programs.abstract(config, examples=batch)
    compiled = made.lower(*arguments).compile()
    cost = compiled.cost_analysis()
    size = compiled.memory_analysis().temp_size_in_bytes
    self.assertLess(cost['flops'] / 1e9 / batch, 1.1 * work)
    self.assertLess(cost['bytes accessed'] / 1e6 / batch, 1.1 * moved)
    self.assertLess(size / 2**20, 1.1 * temporary)


class CompilationsTest(absltest.TestCase):
  def test_a_step_is_compiled_once(self):
    stepper = helpers.Stepper(helpers.config())
    with helpers.compilations() as compiled:
      state, _ = stepper.take(stepper.start(), 1)
    self.assertNotEmpty(compiled)
    with helpers.compilations() as compiled:
      stepper.take(state, 4)
    self.assertEmpty(compiled)


if __name__ == '__main__':
  absltest.main()
