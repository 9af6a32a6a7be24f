"""Two lists of logits: one network or two."""

import json

import numpy as np
from absl.testing import absltest

from peeraid_jax.autoattack import identity

LOGITS = np.random.default_rng(0).normal(5, 2, 50).astype(np.float32)


class IdentityTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.saved = json.loads(json.dumps(identity.rounded(LOGITS)))

  def test_one_network_on_other_devices(self):
    noise = np.random.default_rng(1).normal(size=50)
    for size in (0, 1e-6, 1e-3):
      self.assertTrue(identity.is_same(self.saved, LOGITS * (1 + size * noise)))

  def test_other_networks(self):
    noise = np.random.default_rng(1).normal(size=50)
    self.assertFalse(identity.is_same(self.saved, LOGITS * (1 + 0.02 * noise)))
    self.assertFalse(identity.is_same(self.saved, LOGITS * 1.01))
    self.assertFalse(identity.is_same(self.saved, LOGITS[:-1]))
    self.assertFalse(identity.is_same(self.saved, LOGITS[::-1]))

  def test_logits_that_are_no_numbers(self):
    logits = LOGITS.copy()
    logits[3], logits[5] = np.nan, -np.inf
    saved = json.loads(json.dumps(identity.rounded(logits)))
    self.assertIsNone(saved[3])
    self.assertTrue(identity.is_same(saved, logits))
    self.assertFalse(identity.is_same(saved, LOGITS))
    self.assertFalse(identity.is_same(self.saved, logits))

  def test_constant_networks(self):
    zeros = np.zeros(3, np.float32)
    self.assertTrue(identity.is_same(identity.rounded(zeros), zeros))
    self.assertFalse(identity.is_same(identity.rounded(zeros), zeros + 1))


if __name__ == '__main__':
  absltest.main()
