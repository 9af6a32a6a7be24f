"""The command that writes tables, and the documents that hold them."""

import json
import pathlib
import subprocess
import sys
import tomllib

from absl.testing import absltest, parameterized

from experiments import runs
from peeraid_jax.report import tables
from tests import helpers
from tests.report import sample_results

ROOT = pathlib.Path(__file__).parents[2]


class TablesTest(parameterized.TestCase):
  @parameterized.parameters('README.md', 'experiments/README.md')
  def test_documents_hold_what_the_program_makes(self, name):
    document = (ROOT / name).read_text()
    rendered = tables.render_all(ROOT / 'experiments/results')
    self.assertEqual(
      tables.insert(document, rendered),
      document,
      'run `python -m peeraid_jax.report.tables experiments/results README.md '
      'experiments/README.md`',
    )

  def test_every_row_is_a_run(self):
    descriptions = tomllib.loads((ROOT / 'experiments/tables.toml').read_text())
    experiments = {name.partition('_seed')[0] for name in runs.RUNS}
    for description in descriptions['results']:
      self.assertLessEqual(set(description['rows']), experiments)

  def _folder(self):
    """Returns a folder with one result, its tables.toml and a document."""
    folder = helpers.folder(self)
    (folder / 'results').mkdir()
    (folder / 'results' / 'a_seed3.json').write_text(
      json.dumps(sample_results.result(3))
    )
    (folder / 'tables.toml').write_text(
      '[[results]]\ntitle = "T"\nroles = ["student"]\n'
      '[results.rows]\na = "A"\n[papers]\n'
    )
    (folder / 'README.md').write_text(
      'x\n<!-- tables: begin results -->\nold\n<!-- tables: end -->\ny\n'
    )
    return folder

  def _run(self, *arguments):
    return subprocess.run(
      [sys.executable, '-m', 'peeraid_jax.report.tables', *arguments],
      capture_output=True,
      text=True,
      check=False,
    )

  def test_command(self):
    folder = self._folder()
    document = folder / 'README.md'
    done = self._run(folder / 'results', document)
    self.assertEqual(done.returncode, 0, done.stderr)
    text = document.read_text()
    self.assertIn('| A, student | 50.0 |', text)
    self.assertIn('seeds 3;', text)
    self.assertNotIn('old', text)
    self.assertTrue(text.startswith('x\n') and text.endswith('y\n'))
    done = self._run(folder / 'results')
    self.assertIn('| A, student | 50.0 |', done.stdout)

  def test_command_with_bad_arguments(self):
    folder = self._folder()
    document = folder / 'README.md'
    document.write_text('<!-- tables: begin other -->\n<!-- tables: end -->')
    for arguments, message in (
      ((), 'name the folder'),
      ((folder / 'no',), 'does not exist'),
      ((folder / 'results', document), 'markers of other; known: results'),
    ):
      done = self._run(*arguments)
      self.assertEqual(done.returncode, 1)
      self.assertIn(message, done.stderr)


if __name__ == '__main__':
  absltest.main()
