"""Opening runs: their labels, and which ones can be compared."""

import chex
from absl.testing import absltest

from peeraid_jax.report import runs
from tests import helpers
from tests.export import runs as export_runs
from tests.report import sample_runs


class RunsTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    for name in ('one', 'two', 'same'):
      (cls.folder / name).mkdir()
    cls.first = sample_runs.workdir(cls.folder, 'one')
    cls.second = sample_runs.workdir(cls.folder, 'two', 'pgd_at')

  def test_labels_differ(self):
    same = sample_runs.workdir(self.folder, 'same')
    opened = runs.open_all([self.first, same], 'student')
    self.assertEqual([r.label for r in opened], [str(self.first), str(same)])
    opened = runs.open_all([self.first, self.second], 'student')
    self.assertEqual([r.label for r in opened], ['peeraid', 'pgd_at'])

  def test_missing_role(self):
    with self.assertRaisesRegex(ValueError, 'role=student_swa: .* has student'):
      runs.open_all([self.first], 'student_swa')

  def test_not_a_work_directory(self):
    with self.assertRaisesRegex(FileNotFoundError, 'not the work directory'):
      runs.open_all([self.first, self.folder], 'student')

  def test_other_attack(self):
    (self.folder / 'three').mkdir()
    config = helpers.config('pgd_at', attack__epsilon=0.2)
    other = export_runs.create_run(self.folder / 'three', config)
    with self.assertRaisesRegex(ValueError, 'its attack is'):
      runs.open_all([self.first, other], 'student')

  def test_damaged_results_are_left_out(self):
    path = self.second / 'results.json'
    self.addCleanup(path.unlink)
    path.write_text('{"roles": {')
    (opened,) = runs.open_all([self.second], 'student')
    self.assertEqual(opened.results, {})


if __name__ == '__main__':
  absltest.main()
