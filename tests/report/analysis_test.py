"""Summaries of what a network returns."""

import numpy as np
from absl.testing import absltest

from peeraid_jax.report import analysis


class AnalysisTest(absltest.TestCase):
  def test_confusion_matrix(self):
    logits = np.eye(3)[[0, 1, 1, 2]]
    counts = analysis.confusion_matrix(np.array([0, 0, 1, 2]), logits, 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])


if __name__ == '__main__':
  absltest.main()
