"""Faults of reports: odd names, missing and damaged files, mixed images."""

import contextlib
import html
import io
import re
import shutil
from unittest import mock

import pytest
from absl.testing import absltest, parameterized
from matplotlib import figure

from peeraid_jax import files, report
from peeraid_jax.config import dataset
from peeraid_jax.evaluation import entries
from peeraid_jax.report import (
  charts,
  gradient_checks,
  measure,
  result_files,
  run_tables,
  runs,
  sections,
  store,
  tables,
)
from peeraid_jax.report.sections import robustness, training
from tests import helpers
from tests.faults import results_test
from tests.report import sample_results, sample_runs

# HTML, both quotes, mathematical text of Matplotlib that is wrong, and letters
# that most fonts do not have.
ODD = '<script>alert("x")<'
ODD_NAMES = (f'{ODD} $a_$', "_'ü雪^$ & $x^$ run")

# The checks of a result file, as of `obfuscation.judge`.
CHECKS = {
  'iterative_beats_single_step': {
    'passed': False,
    'values': {'pgd20': 0.4, 'fgsm': 0.3},
    'why': 'a reason with <b>tags</b>',
  }
}


def _make(workdirs, *names, **options):
  """Writes a report with some sections and short curves; returns its text."""
  chosen = {name: sections.SECTIONS[name] for name in names}
  printed = io.StringIO()
  with (
    mock.patch.object(sections, 'SECTIONS', chosen),
    mock.patch.object(measure, 'STEPS', (0, 1)),
    mock.patch.object(measure, 'FACTORS', (0.0, 1.0)),
    contextlib.redirect_stdout(printed),
  ):
    path = report.make(
      workdirs[0], workdirs[1:], examples=12, size=3, **options
    )
  return path.read_text(), printed.getvalue()


class ReportTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    cls.workdirs = []
    for index, name in enumerate(ODD_NAMES):
      (cls.folder / str(index)).mkdir()
      content = sample_runs.RESULTS if index else {}
      workdir = sample_runs.workdir(
        cls.folder, str(index), 'pgd_at', **content, obfuscation={}
      )
      cls.workdirs.append(workdir.rename(cls.folder / name))
    files.write_json(
      cls.workdirs[0] / 'results.json',
      {**sample_runs.RESULTS, 'obfuscation': {'student': CHECKS}},
    )

  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self) / 'run'
    shutil.copytree(self.workdirs[0], self.workdir)

  @pytest.mark.fault('odd names', count=6)
  def test_odd_names_are_shown_as_they_are(self):
    classes = tuple(f'{ODD}{i} $x_{i}' for i in range(10))
    with mock.patch.object(dataset, 'class_names', return_value=classes):
      text, _ = _make(
        self.workdirs, 'specialisation', 'robustness', 'examples', 'classes'
      )
    self.assertNotIn('<script', text)
    title = html.unescape(re.search(r'<h1>(.*?)</h1>', text)[1])
    for name in ODD_NAMES:
      self.assertIn(name, title)
    heads = re.findall(r'<tr><td>(.*?), student</td>', text)
    self.assertEqual([html.unescape(head) for head in heads], list(ODD_NAMES))

  @pytest.mark.fault('unreadable tables', count=2)
  def test_the_checks_of_a_result_file(self):
    text, _ = _make(self.workdirs[:1])
    _, _, section = text.partition('<section id="masked-gradients">')
    (row,) = re.findall(r'<tr>(<td>.*?)</tr>', section)
    self.assertEqual(
      re.findall(r'<td.*?>(.*?)</td>', row),
      [
        'iterative beats single step',
        'FAILED',
        'pgd20: 40.0, fgsm: 30.0',
        'a reason with &lt;b&gt;tags&lt;/b&gt;',
      ],
    )
    self.assertIn('on an unknown number of test images', section)
    self.assertNotIn('built-in method', text)

  @pytest.mark.fault('mixed results', count=2)
  def test_of_several_entries_the_same_one_counts_everywhere(self):
    def entry(kind, result, images, restarts):
      return entries.new(
        kind,
        'student',
        kind,
        result,
        settings={'restarts': restarts},
        images=images,
        sources={},
        provenance={},
      )

    (name,) = CHECKS
    reasons = [{name: {**CHECKS[name], 'why': f'why {i}'}} for i in range(3)]
    counts = [{'robust': i} for i in range(3)]
    asked = [((20, 'all'), 2), ((20, 'all'), 1), ((8, 'first'), 3)]
    data = mock.Mock()
    run = data.first = mock.Mock(role='student', label='a')
    data.runs, data.threat_model = [run], ''
    run.measured = lambda kind, name='': [
      entry(kind, {'counts': c} if kind == 'autoattack' else r, *how)
      for r, c, how in zip(reasons, counts, asked, strict=True)
    ]
    table = gradient_checks.table(data)
    self.assertIn('on 20 test images', table['caption'])
    self.assertEqual(table['rows'][0]['why'], 'why 0')
    panel = robustness._autoattack_panel(data)
    self.assertEqual(panel.draw.keywords['counts'], {'a': {'robust': 0}})

  @pytest.mark.fault('mixed results')
  def test_accuracies_on_different_images_say_so(self):
    text, _ = _make(self.workdirs)
    heads = re.findall(r'<th>(.*?)</th>', text)
    self.assertIn('clean (360 images)', heads)
    self.assertIn('AutoAttack (the first 16 images)', heads)

  @parameterized.parameters(
    ('no file', None),
    ('empty', ''),
    ('no epoch', '{"step": 3, "student/loss_ce": 1.0}\n'),
    (
      'null',
      '{"step": 3, "student/loss_ce": null, "student/clean_accuracy": null}\n'
      '{"step": 3, "epoch": null, "select/student/clean": null}\n'
      '{"step": 6, "epoch": 2, "select/student/clean": null}\n',
    ),
    ('half a line', '{"step": 3, "student/loss_ce": 1.0}\n{"step": 4, "stu'),
  )
  @pytest.mark.fault('missing records')
  def test_records(self, what, content):
    del what
    path = self.workdir / 'metrics.jsonl'
    path.unlink()
    if content is not None:
      path.write_text(content)
    text, _ = _make([self.workdir], 'training', 'specialisation')
    self.assertIn('<h2>Accuracy</h2>', text)

  @parameterized.parameters(*results_test.DAMAGED)
  @pytest.mark.fault('damaged files')
  def test_damaged_results_are_told_on_one_line(self, name):
    path = self.workdir / 'results.json'
    path.write_bytes(results_test.DAMAGED[name])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      self.assertEqual(runs._read_results(self.workdir), {})
    (line,) = printed.getvalue().splitlines()
    self.assertIn(f'warning: {path} is damaged (', line)
    self.assertEqual(path.read_bytes(), results_test.DAMAGED[name])
    with self.subTest('tables'):
      folder = helpers.folder(self)
      (folder / 'results').mkdir()
      (folder / 'tables.toml').write_text('results = []\n[papers]\n')
      shutil.copy(path, folder / 'results' / 'a.json')
      with self.assertRaises(SystemExit) as caught:
        tables.main([str(folder / 'results')])
      self.assertRegex(
        caught.exception.code, r'^error: .*a\.json is damaged \('
      )
      self.assertNotIn('\n', caught.exception.code)

  @pytest.mark.fault('damaged files', count=2)
  def test_a_folder_in_its_place_and_a_file_without_provenance(self):
    path = self.workdir / 'results.json'
    path.unlink()
    path.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
      self.assertEqual(runs._read_results(self.workdir), {})
    folder = helpers.folder(self)
    content = sample_results.result(0)
    del content['transfer'], content['seed']
    files.write_json(folder / 'a_seed0.json', content)
    with self.assertRaisesRegex(ValueError, 'lacks seed, transfer'):
      result_files.read(folder)

  @pytest.mark.fault('missing records')
  def test_a_run_that_was_not_evaluated(self):
    (self.workdir / 'results.json').unlink()
    with mock.patch.object(gradient_checks, '_measure', return_value=CHECKS):
      text, _ = _make([self.workdir])
    self.assertIn('has not been evaluated yet', text)

  @pytest.mark.fault('unlike images', count=2)
  def test_images_that_are_sorted_by_class(self):
    seen = []

    def section(data):
      seen.append(data)
      return sections.Section('x', '', [])

    with mock.patch.dict(sections.SECTIONS, {'training': section}):
      _make([self.workdir], 'training')
    (data,) = seen
    self.assertEqual(data.subset, 'stratified')
    self.assertIn('a stratified subset of 12 test images', data.caption())
    self.assertIn('a stratified subset of 10 test images', data.caption(10))
    labels = data.some_examples(10).labels
    self.assertLen(set(labels.tolist()), 10)

  @pytest.mark.fault('missing records')
  def test_an_epoch_whose_accuracies_are_missing(self):
    run = mock.Mock(records=[{'step': 4, 'epoch': 0}, {'step': 8}])
    self.assertEqual(training._curve(run, 'select/student/clean'), ([], []))
    result = {
      'selection': {'attack': 'pgd2'},
      'history': [{'epoch': 1, 'select/student/clean': None}],
    }
    self.assertIn('| 1 |  |  |  |  |', run_tables.peer_curve(result))


class LabelsTest(absltest.TestCase):
  @pytest.mark.fault('odd names')
  def test_curves_whose_label_matplotlib_would_hide(self):
    drawn = figure.Figure()
    values = {name: ([0, 1], [0, 1]) for name in ('_hidden', 'shown')}
    charts.curves(drawn, values, x='x', y='y')
    (legend,) = drawn.legends
    self.assertEqual([t.get_text() for t in legend.get_texts()], [*values])

  @pytest.mark.fault('odd names')
  def test_labels_longer_than_names_of_files(self):
    folder = helpers.folder(self)
    (folder / 'a').mkdir()
    workdir = sample_runs.workdir(folder, 'a', 'pgd_at', **sample_runs.RESULTS)
    (opened,) = runs.open_all([workdir], 'student')
    examples, subset = runs.test_examples(opened, 4, '')
    data = sections.ReportData(
      [opened], examples, subset, store.Store(folder / 's', 'c'),
      landscape_size=3,
    )  # fmt: skip
    long = opened._replace(label='/雪' * 200)
    self.assertEqual(data.measured_json(long, 'x', lambda: [1]), [1])
    fail = mock.Mock(side_effect=AssertionError)
    self.assertEqual(data.measured_json(long, 'x', fail), [1])


if __name__ == '__main__':
  absltest.main()
