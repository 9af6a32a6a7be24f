"""Preparing data sets: archives that are there, downloaded or missing."""

import contextlib
import functools
import hashlib
import http.server
import io
import shutil
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

  def serve(self, published: bytes):
    """Serves a TinyImageNet, at an address that replaces the real one.

    Args:
      published: content whose checksum is the published one.
    """
    served = self.folder / 'served'
    served.mkdir()
    archive = served / 'tiny-imagenet-200.zip'
    archive.write_bytes(published)
    handler = functools.partial(
      http.server.SimpleHTTPRequestHandler, directory=str(served)
    )
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self.addCleanup(server.server_close)
    self.addCleanup(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    local = facts.get('tinyimagenet')._replace(
      url=f'http://127.0.0.1:{server.server_port}/',
      sha256=(hashlib.sha256(published).hexdigest(),),
    )
    makers.register(self, 'tinyimagenet', local, replace=True)
    return archive

  def load(self, **kwargs):
    return data.load(
      'tinyimagenet', split='train', data_dir=self.folder / 'in', **kwargs
    )

  def test_download(self):
    """One that is damaged is refused, and not taken from a cache later."""
    zipped = makers.zip_of(self.folder / 'a.zip', makers.tiny_members())
    archive = self.serve(zipped.read_bytes())
    archive.write_bytes(zipped.read_bytes()[:-1] + b'x')
    with self.assertRaisesRegex(ValueError, 'not the published tiny-imagenet'):
      self.load(download=True)
    self.assertEmpty(list((self.folder / 'in').rglob('*.zip')))
    archive.write_bytes(zipped.read_bytes())
    self.assertLen(self.load(download=True).labels, 9)
    # Of preparation, only the lock and the download stay.
    self.assertCountEqual(
      [p.name for p in (self.folder / 'in').iterdir()],
      ['.peeraid_tiny_imagenet.lock', 'downloads', 'tiny_imagenet'],
    )

  def test_download_that_fails(self):
    self.serve(b'').unlink()
    with self.assertRaisesRegex(OSError, 'tiny-imagenet-200.zip cannot be dow'):
      self.load(download=True)

  def test_an_archive_without_published_checksum(self):
    """That of the first use is the one that is expected afterwards."""
    entry = facts.get('tinyimagenet')._replace(sha256=())
    makers.register(self, 'tinyimagenet', entry, replace=True)
    folder = self.folder / 'in'
    folder.mkdir()
    path = folder / 'tiny-imagenet-200.zip'
    makers.zip_of(path, makers.tiny_members())
    for another in (False, False, True):
      if another:
        makers.zip_of(path, makers.tiny_members(2))
      printed = io.StringIO()
      with contextlib.redirect_stderr(printed):
        self.assertLen(self.load().labels, 6 if another else 9)
      self.assertEqual(
        'is not the first used tiny-imagenet-200.zip' in printed.getvalue(),
        another,
      )
      shutil.rmtree(folder / 'tiny_imagenet' / '1.0.0')

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
