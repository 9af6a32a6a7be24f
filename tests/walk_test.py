"""CONTRIBUTING's walk through one step: its files exist, and stay short."""

import pathlib
import re

from absl.testing import absltest

ROOT = pathlib.Path(__file__).parent.parent


class WalkTest(absltest.TestCase):
  def test_seven_files_and_1300_lines(self):
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    walk = text.partition('## One PeerAiD step')[2]
    files = re.findall(r'^\d+\. `([\w/]+\.py)`', walk, re.MULTILINE)
    lines = [len((ROOT / f).read_text().splitlines()) for f in files]
    self.assertEqual(files[0], 'peeraid_jax/main.py')
    self.assertLessEqual(len(files), 7)
    self.assertLessEqual(sum(lines), 1300)

  def test_functions_that_are_named_exist(self):
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    walk = text.partition('## One PeerAiD step')[2]
    code = '\n'.join(
      (ROOT / path).read_text()
      for path in re.findall(r'`(peeraid_jax/[\w/]+\.py)`', walk)
    )
    for name in (
      '_prepare', 'all_steps', 'one_step', 'train_step', 'make_batch',
      'attack', 'update', 'in_microbatches', 'craft', 'loss',
    ):  # fmt: skip
      self.assertIn(name, walk)
      self.assertRegex(code, rf'def {name}\(')


if __name__ == '__main__':
  absltest.main()
