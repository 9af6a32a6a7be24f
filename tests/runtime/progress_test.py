"""Terminal output of training."""

import contextlib
import io

from absl.testing import absltest

from peeraid_jax.runtime import progress


class ProgressTest(absltest.TestCase):
  def test_plain_lines_without_a_terminal(self):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      bar = progress.Progress(total=100, step=0, batch_size=8)
      for step in (10, 20):
        bar.advance()
        scalars = {'loss': 1.5, 'images_per_second': 80.0}
        bar.report(step, scalars)
      bar.close()
    lines = printed.getvalue().splitlines()
    self.assertLen(lines, 2)
    self.assertIn('step 20/100: loss 1.500, 80 images/s, 0:00:0', lines[1])

  def test_clock(self):
    self.assertEqual(progress.clock(3661.4), '1:01:01')


if __name__ == '__main__':
  absltest.main()
