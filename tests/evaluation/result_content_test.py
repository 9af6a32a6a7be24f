"""Results of several evaluations of one run accumulate."""

import contextlib
import io

from absl.testing import absltest

from peeraid_jax.evaluation import result_content
from peeraid_jax.runtime import files
from tests import helpers

SOURCES = {'student': {'checkpoint': 'best', 'step': 8}}
NO_ADDITIONS = {'autoattack': {}, 'obfuscation': {}, 'corruptions': {}}


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

  def test_only_results_of_the_same_networks(self):
    self.assertEqual(result_content.earlier(self.workdir, SOURCES), {})
    content = {'selection': {'roles': SOURCES}, 'seed': 3}
    files.write_json(self.path, content)
    self.assertEqual(result_content.earlier(self.workdir, SOURCES), content)
    other = {'student': {'checkpoint': 'best', 'step': 9}}
    self.assertEqual(result_content.earlier(self.workdir, other), {})

  def test_a_damaged_file_is_reported(self):
    for content in ('{"selection"', '[]', '{}'):
      self.path.write_text(content)
      printed = io.StringIO()
      with contextlib.redirect_stdout(printed):
        self.assertEqual(result_content.earlier(self.workdir, SOURCES), {})
      self.assertIn(str(self.path), printed.getvalue())


class JoinedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.earlier = {
      'commit': 'old',
      'roles': {'student': {'clean': 0.9}},
      'transfer': {'a': 1},
      'autoattack': {'student': {'apgd_ce': 'old', 'square': 'old'}},
      'corruptions': {'student': 'old'},
    }
    self.content = {'commit': 'new', 'roles': {}, 'transfer': {'b': 2}}

  def test_accuracies_stay_if_none_were_measured(self):
    joined = result_content.joined(
      self.earlier,
      self.content,
      replaces_accuracies=False,
      **NO_ADDITIONS,
    )
    self.assertEqual(joined['commit'], 'old')
    self.assertEqual(joined['roles'], self.earlier['roles'])
    self.assertEqual(joined['transfer'], {'a': 1, 'b': 2})

  def test_accuracies_are_replaced_and_the_rest_is_added_to(self):
    joined = result_content.joined(
      self.earlier,
      self.content,
      replaces_accuracies=True,
      **NO_ADDITIONS
      | {'autoattack': {'student': {'square': 'new'}, 'peer': {'fab': 'new'}}},
    )
    self.assertEqual(joined['commit'], 'new')
    self.assertEqual(joined['transfer'], {'b': 2})
    self.assertEqual(
      joined['autoattack'],
      {
        'student': {'apgd_ce': 'old', 'square': 'new'},
        'peer': {'fab': 'new'},
      },
    )
    self.assertEqual(joined['corruptions'], {'student': 'old'})
    # The earlier results themselves are not changed.
    self.assertEqual(self.earlier['autoattack']['student']['square'], 'old')


if __name__ == '__main__':
  absltest.main()
