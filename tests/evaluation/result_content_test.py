"""What results.json says of a run, besides its measurements."""

import contextlib
import io

from absl.testing import absltest

from peeraid_jax import files
from peeraid_jax.evaluation import result_content
from tests import helpers

SOURCES = {'student': {'checkpoint': 'best', 'step': 8}}


class PortableConfigTest(absltest.TestCase):
  def test_paths_of_this_machine_are_left_out(self):
    config = helpers.config(data__dir='/data/here')
    stored = result_content.portable_config(config)
    self.assertEqual(stored['data']['dir'], '')
    self.assertNotIn('distributed', stored)

  def test_only_relative_work_directories_are_stored(self):
    for workdir, expected in (('../other', '../other'), ('/runs/other', '')):
      config = helpers.config('ard', teacher__workdir=workdir)
      stored = result_content.portable_config(config)
      self.assertEqual(stored['teacher']['workdir'], expected)


class EarlierTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = helpers.folder(self)
    self.path = self.workdir / 'results.json'

  def test_content(self):
    self.assertEqual(result_content.earlier(self.workdir), {})
    content = {'selection': {'roles': SOURCES}, 'roles': {}, 'seed': 3}
    files.write_json(self.path, content)
    self.assertEqual(result_content.earlier(self.workdir), content)

  def test_a_damaged_file_is_kept_aside(self):
    for content in ('{"selection"', '[]', '{}'):
      self.path.write_text(content)
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        self.assertEqual(result_content.earlier(self.workdir), {})
      self.assertIn(str(self.path), printed.getvalue())
      self.assertFalse(self.path.exists())
    self.assertLen(list(self.workdir.glob('*.damaged*')), 3)


class DescribedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.earlier = {
      'commit': 'old',
      'selection': {'roles': SOURCES},
      'roles': {'student': {}},
      'autoattack': {},
      'evaluations': [],
    }
    self.content = {'commit': 'new', 'selection': {'roles': SOURCES}}

  def _described(self, **options):
    return result_content.described(self.earlier, self.content, **options)

  def test_new_accuracies_are_described(self):
    self.assertEqual(self._described(measures_accuracies=True), self.content)

  def test_of_the_earlier_accuracies_if_there_are_no_new_ones(self):
    self.assertEqual(
      self._described(measures_accuracies=False),
      {'commit': 'old', 'selection': {'roles': SOURCES}},
    )

  def test_other_networks(self):
    self.earlier['selection'] = {'roles': {'student': {'step': 9}}}
    self.assertEqual(self._described(measures_accuracies=False), self.content)
    self.earlier = {}
    self.assertEqual(self._described(measures_accuracies=False), self.content)


if __name__ == '__main__':
  absltest.main()
