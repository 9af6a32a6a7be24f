"""Files that others wrote: whatever is in them, a clear error or data.

Each reader meets files that are right but for some bytes, cut off, or not at
all what they should be. It may read them or raise ValueError (or OSError, for
what is missing), and nothing else; and it writes nothing.
"""

import functools
import io
import json
import pathlib
import shutil
import tempfile

import hypothesis
import numpy as np
import safetensors.numpy
import scipy.io
from absl.testing import absltest
from hypothesis import strategies as st

from peeraid_jax import autoattack, data, models, torch_io
from peeraid_jax import config as config_lib
from peeraid_jax.data import archives, corruptions, stored
from peeraid_jax.runtime import metrics_log
from peeraid_jax.runtime import workdir as workdir_lib
from tests import helpers
from tests.data import makers
from tests.torch_io import hostile, torch_files

# The same examples at every run; the suite is no place for surprises.
_settings = functools.partial(
  hypothesis.settings,
  derandomize=True,
  deadline=None,
  database=None,
  suppress_health_check=list(hypothesis.HealthCheck),
)

# (place as a share, new byte) several times, and where the file is cut
DAMAGE = st.tuples(
  st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
    max_size=4,
  ),
  st.one_of(st.just(1.0), st.floats(0, 1)),
)


def damaged(content: bytes, damage) -> bytes:
  changes, share = damage
  content = bytearray(content)
  for place, value in changes:
    content[int(place * len(content))] = value
  return bytes(content[: int(share * len(content))])


@functools.cache
def _cifar() -> bytes:
  rows = np.zeros((4, 3073), np.uint8)
  rows[:, 0] = range(4)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'a.tar.gz'
    names = [f'data_batch_{i}.bin' for i in range(1, 6)]
    makers.cifar(path, 'cifar-10', dict.fromkeys(names, rows))
    return path.read_bytes()


@functools.cache
def _tiny() -> bytes:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'a.zip'
    return makers.zip_of(path, makers.tiny_members(1)).read_bytes()


@functools.cache
def _networks() -> list[bytes]:
  """One network as torch.save wrote and writes it, and as safetensors."""
  rng = np.random.default_rng(0)
  module = models.create('tiny', num_classes=3, width=2)
  arrays = {
    leaf.name: rng.normal(size=leaf.shape).astype(np.float32)
    for leaf in torch_io.layouts.leaves(module)
  }
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'net.pt'
    found = [
      write(path, {'state_dict': arrays, 'epoch': 3}).read_bytes()
      for write in (torch_files.write_zip, torch_files.write_legacy)
    ]
  return [*found, safetensors.numpy.save(arrays)]


_imagenet = functools.cache(makers.imagenet_train)


@functools.cache
def _svhn() -> bytes:
  buffer = io.BytesIO()
  images = np.zeros((32, 32, 3, 2), np.uint8)
  scipy.io.savemat(buffer, {'X': images, 'y': np.array([[1], [10]], np.uint8)})
  return buffer.getvalue()


@functools.cache
def _npy() -> bytes:
  buffer = io.BytesIO()
  np.save(buffer, np.zeros((5, 4, 4, 1), np.uint8))
  return buffer.getvalue()


class FuzzTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = helpers.folder(self)

  def read(self, name: str, content: bytes, reader):
    """Writes a file, reads it, and looks at what the reader leaves."""
    path = self.folder / name
    path.write_bytes(content)
    before = sorted(self.folder.rglob('*'))
    try:
      found = reader(path)
    except (ValueError, OSError) as error:
      self.assertNotEmpty(str(error))
      found = None
    self.assertEqual(sorted(self.folder.rglob('*')), before)
    return found

  @_settings(max_examples=80)
  @hypothesis.given(DAMAGE)
  def test_cifar(self, damage):
    self.read(
      'a.tar.gz',
      damaged(_cifar(), damage),
      lambda p: list(archives.read_cifar('cifar10', [p], 'train')),
    )

  @_settings(max_examples=80)
  @hypothesis.given(DAMAGE, st.sampled_from(('train', 'test')))
  def test_tiny_imagenet(self, damage, split):
    self.read(
      'a.zip',
      damaged(_tiny(), damage),
      lambda p: list(archives.read_tiny_imagenet('', [p], split)),
    )

  @_settings(max_examples=80)
  @hypothesis.given(DAMAGE)
  def test_imagenet(self, damage):
    self.read(
      'ILSVRC2012_img_train.tar',
      damaged(_imagenet(), damage),
      lambda p: list(archives.read_imagenet('', [p], 'train')),
    )

  @_settings(max_examples=100)
  @hypothesis.given(DAMAGE, st.booleans())
  def test_image(self, damage, lossless):
    content = makers.png(np.zeros((9, 7, 3))) if lossless else makers.jpeg(9)
    self.read(
      'a.jpg',
      damaged(content, damage),
      lambda p: stored.decode(p.read_bytes(), str(p)),
    )

  @_settings(max_examples=60)
  @hypothesis.given(DAMAGE)
  def test_svhn(self, damage):
    self.read(
      'train_32x32.mat',
      damaged(_svhn(), damage),
      lambda p: list(archives.read_svhn('', [p], 'train')),
    )

  @_settings(max_examples=150)
  @hypothesis.given(DAMAGE, st.sampled_from(range(3)))
  def test_networks_of_pytorch(self, damage, kind):
    name = ('net.pt', 'net.pt', 'net.safetensors')[kind]
    content = damaged(_networks()[kind], damage)
    found = self.read(name, content, torch_io.read)
    if found is not None:
      self.assertEqual(found.architecture.name, 'tiny')

  @_settings(max_examples=100)
  @hypothesis.given(
    st.lists(st.sampled_from(hostile.OPERATIONS), max_size=20), st.booleans()
  )
  def test_pickles_of_any_operations(self, operations, beside):
    """Beside the network of a file, or while it is on the stack."""
    odd = b''.join(operations)
    net = hostile.network() if beside else hostile.network(odd)
    content = hostile.pickled(odd if beside else b'N', net)
    path = hostile.write(self.folder / 'net.pt', content)
    found = self.read(path.name, path.read_bytes(), torch_io.read)
    if found is not None:
      self.assertEqual(found.architecture.name, 'tiny')

  @_settings(max_examples=100)
  @hypothesis.given(DAMAGE)
  def test_corruptions(self, damage):
    np.save(self.folder / 'labels.npy', np.zeros(5, np.uint8))
    self.read(
      'fog.npy',
      damaged(_npy(), damage),
      lambda p: list(corruptions.Folder(str(p.parent), (4, 4, 1)).read()),
    )

  def test_prepared_records(self):
    """Flipped, cut off and deleted; a flip in padding does no harm."""
    rows = np.zeros((2, 3073), np.uint8)
    names = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']
    archive = self.folder / 'cifar-10-binary.tar.gz'
    makers.cifar(archive, 'cifar-10', dict.fromkeys(names, rows))
    load = functools.partial(
      data.load, 'cifar10', split='train', data_dir=str(self.folder)
    )
    whole = load()
    (path,) = self.folder.rglob('cifar10-train.array_record*')
    right = path.read_bytes()
    message = f'{path.parent} is damaged .*Delete that folder'
    for place in (100, 65536):
      changed = bytearray(right)
      changed[place] ^= 1
      path.write_bytes(changed)
      with self.assertRaisesRegex(ValueError, message):
        load()
    path.write_bytes(right[: len(right) // 2])
    with self.assertRaisesRegex(ValueError, message):
      load()
    path.unlink()
    with self.assertRaisesRegex(ValueError, message):
      load()
    shutil.rmtree(path.parent)
    np.testing.assert_array_equal(load().images, whole.images)

  def test_arrays_of_objects_are_refused(self):
    """What a pickle inside of an array would do is not done."""
    np.save(self.folder / 'labels.npy', np.zeros(5, np.uint8))

    class Harm:
      def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path('/tmp/peeraid_harm'),)

    buffer = io.BytesIO()
    np.save(buffer, np.array([Harm()], object), allow_pickle=True)
    (self.folder / 'fog.npy').write_bytes(buffer.getvalue())
    with self.assertRaisesRegex(ValueError, 'fog.npy'):
      corruptions.Folder(str(self.folder), (4, 4, 1))
    self.assertFalse(pathlib.Path('/tmp/peeraid_harm').exists())

  @_settings(max_examples=100)
  @hypothesis.given(st.binary(max_size=60), DAMAGE)
  def test_metrics(self, content, damage):
    line = json.dumps({'step': 3, 'loss': 0.5}).encode() + b'\n'
    for written in (content, damaged(line * 3, damage)):
      found = self.read(
        'metrics.jsonl', written, lambda p: metrics_log.read(p.parent)
      )
      self.assertIsNotNone(found)
      for record in found:
        self.assertIsInstance(record['step'], int)

  @_settings(max_examples=60)
  @hypothesis.given(st.binary(max_size=60), DAMAGE)
  def test_config(self, content, damage):
    right = json.dumps(config_lib.to_json(helpers.config())).encode()
    for written in (content, damaged(right, damage)):
      self.read(
        'config.json', written, lambda p: workdir_lib.read_config(p.parent)
      )

  @_settings(max_examples=15)
  @hypothesis.given(st.binary(max_size=60), DAMAGE)
  def test_state_of_an_evaluation(self, content, damage):
    images = np.full((2, 5, 5, 1), 0.5, np.float32)
    path = self.folder / 'aa.json'

    def run(path):
      return autoattack.run(
        lambda x: x.reshape(len(x), -1)[:, :3],
        images,
        np.zeros(2, int),
        epsilon=0,
        state_path=path,
      )

    path.unlink(missing_ok=True)
    whole = run(path)
    right = path.read_bytes()
    for written in (content, damaged(right, damage)):
      report = self.read('aa.json', written, run)
      if report is not None:
        self.assertEqual(report.outcome, whole.outcome)
    images_path = path.with_name('aa.json.images.npy')
    path.write_bytes(right)
    self.read(
      images_path.name,
      damaged(images_path.read_bytes(), damage),
      lambda _: run(path),
    )
    images_path.unlink(missing_ok=True)


if __name__ == '__main__':
  absltest.main()
