"""Damaged and hostile files of PyTorch: data, or one error that says what.

None of them runs code, takes long, or needs much more memory than its size.
"""

import contextlib
import hashlib
import os
import pathlib
import pickle
import pickletools
import signal
import time
import tracemalloc
import zipfile
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from absl.testing import absltest, parameterized

from peeraid_jax import torch_io
from tests import helpers
from tests.faults import torch_files_cases as cases
from tests.torch_io import hostile, networks

# The most that any file here may take; most take milliseconds.
SECONDS = 15
MEBIBYTES = 50

_dict, _tuple = pickle.EMPTY_DICT, pickle.EMPTY_TUPLE
_none, _stop = pickle.NONE, pickle.STOP
name, text = hostile.name, hostile.text


def _each(table):
  """Makes one test of each row."""
  return parameterized.named_parameters(
    *((case.replace(' ', '_'), case) for case in table)
  )


class TorchFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)
    self.path = self.folder / 'net.pt'

  @contextlib.contextmanager
  def bounded(self):
    """Ends a test that takes too long, where it is."""

    def late(signum, frame):
      raise AssertionError(f'more than {SECONDS} seconds')

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
      yield
    finally:
      signal.setitimer(signal.ITIMER_REAL, 0)
      signal.signal(signal.SIGALRM, before)

  def refused(self, path: pathlib.Path, message: str, **options):
    """Checks the error of a file: one line, with the file's name."""
    with self.bounded(), self.assertRaisesRegex(ValueError, message) as caught:
      torch_io.read(path, **options)
    told = str(caught.exception)
    self.assertStartsWith(told, str(path))
    self.assertNotIn('\n', told)
    self.assertLess(len(told), 2000)

  def accepted(self, path: pathlib.Path) -> torch_io.Imported:
    with self.bounded():
      imported = torch_io.read(path)
    self.assertEqual(imported.architecture.name, 'tiny')
    return imported

  @_each(cases.HARMLESS)
  @pytest.mark.fault('hostile pickles')
  def test_a_network_beside_something_odd(self, case):
    imported = self.accepted(
      hostile.write(self.path, hostile.pickled(cases.HARMLESS[case]))
    )
    for key, array in networks.state_dict('tiny', 2).items():
      np.testing.assert_array_equal(imported.arrays[key], array)

  @_each(cases.REFUSED)
  @pytest.mark.fault('hostile pickles')
  def test_a_pickle_that_is_refused(self, case):
    odd, message = cases.REFUSED[case]
    self.refused(hostile.write(self.path, hostile.pickled(odd)), message)

  @_each(cases.NETWORKS)
  @pytest.mark.fault('hostile tensors')
  def test_a_network_that_is_refused(self, case):
    value, message = cases.NETWORKS[case]
    net = hostile.network(hostile.entry(cases.WEIGHT, value))
    self.refused(hostile.write(self.path, hostile.pickled(net=net)), message)

  @_each(cases.ENTRIES)
  @pytest.mark.fault('hostile tensors')
  def test_further_entries_of_a_network(self, case):
    entries, message = cases.ENTRIES[case]
    net = hostile.network(*(hostile.entry(k, v) for k, v in entries.items()))
    self.refused(hostile.write(self.path, hostile.pickled(net=net)), message)

  @_each(cases.ZIPS)
  @pytest.mark.fault('damaged archives')
  def test_a_zip_archive_that_is_damaged(self, case):
    marker, place, new, message = cases.ZIPS[case]
    hostile.write(self.path, hostile.pickled())
    content = self.path.read_bytes()
    self.path.write_bytes(cases.patched(content, marker, place, new))
    self.refused(self.path, message)

  @pytest.mark.fault('damaged archives', count=5)
  def test_members_of_a_zip_archive(self):
    for changes, message in (
      ({'data/0': None}, 'data/0 is missing'),
      ({'data/0': b''}, 'has 0 bytes, and should have'),
      ({'data.pkl': None}, '0 members data.pkl'),
      ({'inner/data.pkl': b''}, '2 members data.pkl'),
      ({'byteorder': b'middle'}, "byteorder is b'middle'"),
    ):
      found = hostile.members(**changes)
      self.refused(hostile.write_zip(self.path, found), message)

  @pytest.mark.fault('damaged archives')
  def test_two_members_of_one_name(self):
    hostile.write(self.path, hostile.pickled())
    with (
      self.assertWarns(UserWarning),
      zipfile.ZipFile(self.path, 'a') as archive,
    ):
      archive.writestr('archive/data/0', b'')
    self.refused(self.path, 'several members of one name')

  @pytest.mark.fault('damaged archives')
  def test_members_elsewhere_are_never_written(self):
    found = hostile.members() | {'../../outside': b'', '/outside': b''}
    self.accepted(hostile.write_zip(self.path, found))
    self.assertEqual(list(self.folder.iterdir()), [self.path])

  @pytest.mark.fault('damaged archives')
  def test_a_zip_archive_larger_than_the_old_limits(self):
    with zipfile.ZipFile(self.path, 'w') as archive:
      for member, raw in hostile.members().items():
        with archive.open(f'archive/{member}', 'w', force_zip64=True) as file:
          file.write(raw)
    self.accepted(self.path)

  @parameterized.parameters('zip', 'legacy', 'safetensors')
  @pytest.mark.fault('damaged archives', count=60)
  def test_a_file_that_ends_too_early(self, kind):
    """At 60 places each."""
    if kind == 'safetensors':
      self.path = self.path.with_suffix('.safetensors')
      content = safetensors.numpy.save(networks.state_dict('tiny', 2))
    elif kind == 'zip':
      content = hostile.write(self.path, hostile.pickled()).read_bytes()
    else:
      content = hostile.legacy(hostile.pickled())
    self.path.write_bytes(content)
    self.accepted(self.path)
    places = {*range(20), *range(20, len(content), len(content) // 38)}
    for place in sorted(places)[:59] + [len(content) - 1]:
      self.path.write_bytes(content[:place])
      self.refused(self.path, 'cannot be read')

  @pytest.mark.fault('damaged archives', count=3)
  def test_other_formats_are_told(self):
    for content, message in (
      (b'\0' * 257 + b'ustar' + b'\0' * 512, 'tar archive.*0.1.10'),
      (b'PK\x03\x04' + b'\0' * 99, 'beginning of a zip archive'),
      (cases.tensors({'a': cases.entry()}, b'1234'), 'end in .safetensors'),
    ):
      self.path.write_bytes(content)
      self.refused(self.path, message)

  @_each(cases.SAFETENSORS)
  @pytest.mark.fault('damaged archives')
  def test_safetensors_that_are_damaged(self, case):
    content, message = cases.SAFETENSORS[case]
    path = self.folder / 'net.safetensors'
    path.write_bytes(content)
    self.refused(path, message)

  @parameterized.parameters(
    (np.float64, 'F64'),
    (np.float16, 'F16'),
    (ml_dtypes.bfloat16, 'BF16'),
    (ml_dtypes.float8_e4m3fn, 'F8_E4M3'),
    (ml_dtypes.float8_e5m2, 'F8_E5M2'),
  )
  @pytest.mark.fault('other types of numbers')
  def test_safetensors_of_other_types(self, dtype, kind):
    header, data = {}, b''
    arrays = {
      n: a.astype(dtype) for n, a in networks.state_dict('tiny', 2).items()
    }
    for key, array in arrays.items():
      end = len(data) + array.nbytes
      header[key] = cases.entry(kind, array.shape, (len(data), end))
      data += array.tobytes()
    path = self.folder / 'net.safetensors'
    path.write_bytes(cases.tensors(header, data))
    imported = self.accepted(path)
    for key, array in arrays.items():
      self.assertEqual(imported.arrays[key].dtype, array.dtype)
      self.assertEqual(imported.arrays[key].tobytes(), array.tobytes())
    torch_io.to_net(imported)

  @pytest.mark.fault('hostile metadata', count=7)
  def test_metadata_of_safetensors(self):
    arrays = networks.state_dict('tiny', 2)
    path = self.folder / 'net.safetensors'
    for metadata, message in (
      ({'architecture': 'other'}, "model 'other' is unknown"),
      ({'architecture': 'resnet18'}, 'missing: '),
      ({'architecture': 'wideresnet10x' + '9' * 30}, 'too large'),
      ({'architecture': 'a' * 100_000}, 'has 100000 characters'),
      ({'normalization': '1,' * 100_000}, 'has 200000 characters'),
      ({'normalization': 'nan/1'}, 'finite'),
      ({'normalization': '0,0/1,1'}, 'one or 3'),
    ):
      path.write_bytes(safetensors.numpy.save(arrays, metadata))
      self.refused(path, message)

  @pytest.mark.fault('odd files', count=8)
  def test_paths_that_are_no_file(self):
    loop = self.folder / 'loop.pt'
    loop.symlink_to(loop)
    pipe = self.folder / 'pipe.pt'
    os.mkfifo(pipe)
    empty = self.folder / 'empty.pt'
    empty.touch()
    for path, message in (
      (self.folder, 'is a folder; it should be a file'),
      (pathlib.Path('/dev/zero'), 'is a device'),
      (pipe, 'is a device or a pipe'),
      (loop, 'cannot be found .*symbolic links'),
      (self.folder / ('a' * 300), 'cannot be found .*too long'),
      (empty / 'net.pt', 'cannot be found'),
      (empty, 'cannot be read'),
    ):
      self.refused(path, message)
    for missing in ('nowhere.pt', '~nobody_at_all/net.pt', 'no\0where.pt'):
      with self.assertRaises((FileNotFoundError, ValueError)):
        torch_io.read(missing)

  @pytest.mark.fault('odd files')
  def test_a_file_that_may_not_be_read(self):
    hostile.write(self.path, hostile.pickled())

    def denied(*args, **kwargs):
      raise PermissionError(13, 'Permission denied')

    with mock.patch.object(pathlib.Path, 'open', denied):
      self.refused(self.path, r'cannot be read \(Permission denied\)')

  @parameterized.parameters('net.pt', 'net.safetensors')
  @pytest.mark.fault('odd files', count=3)
  def test_a_file_that_changes_while_it_is_read(self, called):
    path = self.folder / called
    if called == 'net.pt':
      hostile.write(path, hostile.pickled())
    else:
      path.write_bytes(safetensors.numpy.save(networks.state_dict('tiny', 2)))
    right = path.read_bytes()
    digest = hashlib.file_digest

    def changed(write):
      def then(file, kind):
        found = digest(file, kind)
        write()
        return found

      return mock.patch.object(hashlib, 'file_digest', then)

    def cut_off():
      os.truncate(path, 100)

    def overwritten():
      path.write_bytes(bytes(len(right)))

    def replaced():
      other = self.folder / 'other'
      other.write_bytes(bytes(len(right)))
      os.replace(other, path)

    for write in (cut_off, overwritten):
      path.write_bytes(right)
      with changed(write):
        self.refused(path, 'changed while it was read; read it again')
    path.write_bytes(right)
    with changed(replaced):
      imported = self.accepted(path)
    self.assertEqual(
      imported.source['sha256'], hashlib.sha256(right).hexdigest()
    )

  @pytest.mark.fault('memory', count=2)
  def test_a_file_that_does_not_fit_into_memory(self):
    hostile.write(self.path, hostile.pickled())
    for error in (MemoryError(), MemoryError('Unable to allocate')):
      with mock.patch.object(pickletools, 'genops', side_effect=error):
        self.refused(self.path, 'does not fit into memory')

  @pytest.mark.fault('memory', count=4)
  def test_memory(self):
    """The files with the most operations, and the largest claims."""
    for odd in (
      _dict * 150_000 + pickle.POP * 150_000 + _none,
      _none + pickle.LONG_BINPUT + b'\xff' * 4,
      pickle.BINBYTES8 + (2**40).to_bytes(8, 'little'),
      b''.join(name('a', f'n{i}') for i in range(20_000)),
    ):
      hostile.write(self.path, hostile.pickled(odd))
      tracemalloc.start()
      with contextlib.suppress(ValueError):
        torch_io.read(self.path)
      _, most = tracemalloc.get_traced_memory()
      tracemalloc.stop()
      self.assertLess(most, MEBIBYTES * 2**20)

  @pytest.mark.fault('hostile pickles', count=2)
  def test_modules_of_the_older_format(self):
    """The class of a module that was saved whole came with its code."""
    klass = name('models', 'Net')
    parts = text('module') + klass + text('net.py') + text('import os')
    reference = pickle.MARK + parts + pickle.TUPLE + pickle.BINPERSID
    state = hostile.dictionary(_modules=_dict, _parameters=hostile.network())
    whole = reference + _tuple + pickle.REDUCE + state + pickle.BUILD
    content = b'\x80\x02' + whole + _stop
    self.path.write_bytes(hostile.legacy(content))
    self.accepted(self.path)
    self.path.write_bytes(
      hostile.legacy(content.replace(b'cmodels', b'cos', 1))
    )
    self.accepted(self.path)

  @pytest.mark.fault('files that are written')
  def test_the_same_network_gives_the_same_bytes(self):
    net = torch_io.load(hostile.write(self.path, hostile.pickled()))
    written = set()
    for i in range(20):
      path = self.folder / f'{i}.safetensors'
      torch_io.save(net, path)
      written.add(path.read_bytes())
    self.assertLen(written, 1)
    (content,) = written
    for private in (str(self.folder), time.strftime('%Y')):
      self.assertNotIn(private.encode(), content.partition(b'}}')[0])


if __name__ == '__main__':
  absltest.main()
