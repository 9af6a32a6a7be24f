"""Tables: what is averaged, what is missing, what the papers say."""

import json
import pathlib
import subprocess
import sys
import tomllib

from absl.testing import absltest, parameterized

from experiments import runs
from peeraid_jax.report import tables
from tests import helpers

ROOT = pathlib.Path(__file__).parent.parent


def result(seed: int, robust: float | None = None, clean: float = 0.5):
  accuracies = {a: {'accuracy': clean, 'n': 40} for a in tables.ATTACKS}
  made = {
    'roles': {'student': accuracies},
    'transfer': {},
    'seed': seed,
    'commit': 'c' * 40,
    'device': 'a device',
    'config': {'attack': {'epsilon': 0.1}, 'train': {'epochs': 3}},
    'selection': {'on': 'validation'},
  }
  if robust is not None:
    report = {'robust_accuracy': robust, 'n': 20, 'commit': 'a' * 40}
    made['autoattack'] = {'student': {'autoattack': report}}
  return made


class TablesTest(parameterized.TestCase):
  @parameterized.parameters('README.md', 'experiments/README.md')
  def test_documents_hold_what_the_program_makes(self, name):
    text = (ROOT / name).read_text()
    self.assertEqual(
      tables.between(text, tables.make(ROOT / 'experiments/results')),
      text,
      'run `python -m peeraid_jax.report.tables experiments/results README.md '
      'experiments/README.md`',
    )

  def test_every_row_is_a_run(self):
    described = tomllib.loads((ROOT / 'experiments/tables.toml').read_text())
    known = {n.partition('_seed')[0] for n in runs.RUNS}
    for of in described['results']:
      self.assertLessEqual(set(of['rows']), known)

  def test_autoattack_column(self):
    groups = {
      'whole': [result(0, 0.2), result(1, 0.3)],
      'half': [result(0, 0.2), result(1, None)],
    }
    text = tables.table({'whole': 'A', 'half': 'B'}, groups)
    self.assertRegex(text, r'A, student \|.*\| 25.0 ± 7.1 \|  \|')
    self.assertRegex(text, r'B, student \|.* 50.0 ± 0.0 \|  \|  \|')
    self.assertIn(
      'on 40 test images, AutoAttack on 20 (commit aaaaaaaaaaaa); epsilon', text
    )
    groups['half'].pop()
    text = tables.table({'whole': 'A', 'half': 'B'}, groups)
    self.assertIn('| B (1 of 2 seeds), student |', text)

  def test_ours_beside_the_paper(self):
    rows = [
      {
        'what': 'CIFAR-10',
        'run': 'one',
        'config': 'configs/cifar10.py',
        'overrides': {'swa.start_epoch': '3', 'eval.attacks': "('clean',)"},
        'paper': {'clean': 85.0, 'autoattack': 52.5},
        'source': 'a poster',
      },
      {'what': 'MART', 'run': 'two', 'config': 'configs/cifar10.py'},
      {'what': 'checks', 'command': 'pytest'},
    ]
    groups = {'one': [result(0, 0.5, 0.8), result(1, 0.6, 0.9)]}
    _, _, first, second, third = tables.paper(rows, groups).splitlines()
    self.assertEqual(
      first,
      '| CIFAR-10 | `python -m peeraid_jax.main --config=configs/cifar10.py '
      '--config.swa.start_epoch=3 --config.eval.attacks="(\'clean\',)"` | '
      'clean 85.0, AutoAttack 52.5 (a poster) | '
      'clean 85.0 ± 7.1, AutoAttack 55.0 ± 7.1 | +0.0, +2.5 | 0, 1 |',
    )
    self.assertIn('| not run |  |  |', second)
    self.assertEqual(third, '| checks | `pytest` |  |  |  |  |')
    # What a seed has not, no mean is made of.
    groups['one'][1].pop('autoattack')
    self.assertIn('| clean 85.0 ± 7.1 | +0.0 |', tables.paper(rows, groups))

  def test_command(self):
    folder = helpers.folder(self)
    (folder / 'results').mkdir()
    (folder / 'results' / 'a_seed3.json').write_text(json.dumps(result(3)))
    (folder / 'tables.toml').write_text(
      '[[results]]\ntitle = "T"\nroles = ["student"]\n'
      '[results.rows]\na = "A"\n[papers]\n'
    )
    document = folder / 'README.md'
    document.write_text(
      'x\n<!-- tables: begin results -->\nold\n<!-- tables: end -->\ny\n'
    )

    def run(*arguments):
      return subprocess.run(
        [sys.executable, '-m', 'peeraid_jax.report.tables', *arguments],
        capture_output=True,
        text=True,
        check=False,
      )

    done = run(folder / 'results', document)
    self.assertEqual(done.returncode, 0, done.stderr)
    text = document.read_text()
    self.assertIn('| A, student | 50.0 |', text)
    self.assertIn('seeds 3;', text)
    self.assertNotIn('old', text)
    self.assertTrue(text.startswith('x\n') and text.endswith('y\n'))
    self.assertIn('| A, student | 50.0 |', run(folder / 'results').stdout)
    document.write_text('<!-- tables: begin other -->\n<!-- tables: end -->')
    for arguments, says in (
      ((), 'name the folder'),
      ((folder / 'no',), 'is not there'),
      ((folder / 'results', document), 'markers of other; known: results'),
    ):
      done = run(*arguments)
      self.assertEqual(done.returncode, 1)
      self.assertIn(says, done.stderr)


if __name__ == '__main__':
  absltest.main()
