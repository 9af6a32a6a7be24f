"""Preparing data sets: archives that are there, downloaded or missing."""

import functools
import http.server
import threading

from absl.testing import absltest

from peeraid_jax import data
from peeraid_jax.data import facts
from tests import helpers
from tests.data import makers


class PrepareTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def test_download(self):
    """From a local server, whose address replaces the one in the record."""
    served, data_dir = self.folder / 'served', self.folder / 'prepared'
    served.mkdir()
    makers.zip_of(served / 'tiny-imagenet-200.zip', makers.tiny_members())
    handler = functools.partial(
      http.server.SimpleHTTPRequestHandler, directory=str(served)
    )
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self.addCleanup(server.server_close)
    self.addCleanup(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    local = facts.get('tinyimagenet')._replace(
      url=f'http://127.0.0.1:{server.server_port}/'
    )
    makers.register(self, 'tinyimagenet', local, replace=True)
    train = data.load(
      'tinyimagenet', split='train', data_dir=data_dir, download=True
    )
    self.assertEqual(len(train.labels), 9)

  def test_missing_says_what_to_download_and_where_to_put_it(self):
    for name in set(facts.SOURCES) - {'digits', 'folder'}:
      entry = facts.get(name)
      with self.assertRaises(FileNotFoundError) as context:
        data.load(name, split='test', data_dir=self.folder)
      for part in (entry.url + entry.archives[0], str(self.folder)):
        self.assertIn(part, str(context.exception))
    with self.assertRaisesRegex(FileNotFoundError, 'data.source=/none'):
      data.load(
        'tinyimagenet', split='test', data_dir=self.folder, source='/none'
      )

  def test_nothing_half_prepared_is_taken_for_whole(self):
    members = makers.tiny_members()
    good = dict(members)
    members['val/images/val_1.JPEG'] = b'not an image'
    path = makers.zip_of(self.folder / 'tiny-imagenet-200.zip', members)
    with self.assertRaisesRegex(ValueError, 'does not decode'):
      data.load('tinyimagenet', split='train', data_dir=self.folder)
    makers.zip_of(path, good)
    train = data.load('tinyimagenet', split='train', data_dir=self.folder)
    self.assertEqual(len(train.labels), 9)


if __name__ == '__main__':
  absltest.main()
