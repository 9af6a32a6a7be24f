"""Files of torch.save: their arrays are read, nothing in them is run."""

import collections
import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
from absl.testing import absltest, parameterized

from peeraid_jax.torch_io import pickles, sources
from tests import helpers
from tests.torch_io import hostile, torch_files

Named, Called = torch_files.Named, torch_files.Called
WRITERS = (torch_files.write_zip, torch_files.write_legacy)


def _read(path):
  with sources.opened(path) as file:
    return pickles.read(file)


def _arrays() -> collections.OrderedDict:
  rng = np.random.default_rng(0)
  return collections.OrderedDict(
    weight=rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
    double=rng.normal(size=(3,)),
    half=rng.normal(size=(3,)).astype(np.float16),
    short=rng.normal(size=(4,)).astype(ml_dtypes.bfloat16),
    count=np.array(7),
    mask=np.array([True, False]),
    none=np.zeros((0, 3), np.float32),
  )


class PicklesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = str(helpers.folder(self) / 'net.pt')

  @parameterized.parameters(*WRITERS)
  def test_arrays_come_back(self, write):
    arrays = _arrays()
    content = _read(write(self.path, {'net': arrays, 'epoch': 3}))
    self.assertEqual(content['epoch'], 3)
    self.assertEqual(list(content['net']), list(arrays))
    for name, array in arrays.items():
      restored = content['net'][name].array()
      self.assertEqual(restored.dtype, array.dtype)
      np.testing.assert_array_equal(restored, array)

  def test_big_endian(self):
    arrays = _arrays()
    del arrays['short']
    content = _read(torch_files.write_zip(self.path, arrays, big=True))
    for name, array in arrays.items():
      np.testing.assert_array_equal(content[name].array(), array)

  @parameterized.parameters(
    ('float8_e4m3fn', ml_dtypes.float8_e4m3fn),
    ('float8_e5m2', ml_dtypes.float8_e5m2),
    ('uint16', np.uint16),
  )
  def test_types_without_a_storage_of_their_own(self, called, dtype):
    odd = hostile.call(
      hostile.name('torch._utils', '_rebuild_tensor_v3'),
      hostile.storage('UntypedStorage', 24),
      hostile.integer(1),
      hostile.numbers(3, 2),
      hostile.numbers(1, 3),
      pickle.NEWFALSE,
      pickle.NONE,
      hostile.name('torch', called),
    )
    path = hostile.write(pathlib.Path(self.path), hostile.pickled(odd))
    array = _read(path)['odd'].array()
    raw = np.arange(6, dtype=np.float32).tobytes()
    expected = np.frombuffer(raw, dtype)[1:7].reshape(2, 3).T
    self.assertEqual(array.dtype, dtype)
    self.assertEqual(array.tobytes(), expected.tobytes())

  def test_tensors_may_share_a_storage_and_be_transposed(self):
    array = np.arange(6, dtype=np.float32)
    path = torch_files.write_zip(self.path, [array, array])
    tensor = _read(path)[0]
    tensor.shape, tensor.strides = (3, 2), (1, 3)
    np.testing.assert_array_equal(
      tensor.array(), array.reshape(2, 3).transpose()
    )
    tensor.offset, tensor.shape, tensor.strides = 4, (2,), (1,)
    np.testing.assert_array_equal(tensor.array(), [4, 5])

  @parameterized.parameters(
    # (offset, shape, strides): past the end, before the beginning, repeated
    # numbers, fewer or other sizes than strides
    (5, (2,), (1,)),
    (0, (2, 4), (4, 1)),
    (-1, (2,), (1,)),
    (0, (7,), (0,)),
    (0, (2,), (-1,)),
    (0, (2,), (1, 1)),
    (0, (2.0,), (1,)),
  )
  def test_no_tensor_reaches_outside_of_its_storage(self, *view):
    path = torch_files.write_zip(self.path, np.arange(6.0))
    tensor = _read(path)
    tensor.offset, tensor.shape, tensor.strides = view
    with self.assertRaisesRegex(ValueError, 'tensor of shape'):
      tensor.array()

  @parameterized.product(
    write=WRITERS,
    named=(
      Named('os', 'system'),
      Named('builtins', 'eval'),
      Named('builtins', 'exec'),
      Named('subprocess', 'check_call'),
      Named('torch', 'load'),
      Named('collections', 'OrderedDict.fromkeys'),
      Named('peeraid_jax.torch_io.pickles', 'read'),
    ),
  )
  def test_nothing_is_called(self, write, named):
    ran = f'{self.path}.ran'
    evil = Called(named, f'touch {ran}', state={'x': 1})
    content = _read(write(self.path, {'net': _arrays(), 'evil': evil}))
    self.assertIsInstance(content['evil'], pickles.Inert)
    self.assertEqual(content['evil'].name, f'{named.module}.{named.name}')
    self.assertEqual(content['evil'].state, {'x': 1})
    self.assertFalse(pathlib.Path(ran).exists())

  def test_messages_for_damaged_files(self):
    with self.assertRaisesRegex(FileNotFoundError, 'no such file'):
      _read(self.path + '.not')

    def read(content: bytes):
      with open(self.path, 'wb') as file:
        file.write(content)
      return _read(self.path)

    with self.assertRaisesRegex(ValueError, 'download went wrong'):
      read(b'<!DOCTYPE html><html>Quota exceeded')
    with self.assertRaisesRegex(ValueError, 'cannot be read'):
      read(b'')
    whole = torch_files.write_legacy(self.path, _arrays()).read_bytes()
    with self.assertRaisesRegex(ValueError, 'ends too early'):
      read(whole[:-10])
    with zipfile.ZipFile(self.path, 'w') as archive:
      archive.writestr('readme', 'a zip')
    with self.assertRaisesRegex(ValueError, 'not one of torch.save'):
      _read(self.path)
    torch_files.write_zip(self.path, np.zeros(1000), deflated=True)
    with self.assertRaisesRegex(ValueError, 'compressed'):
      _read(self.path)


if __name__ == '__main__':
  absltest.main()
