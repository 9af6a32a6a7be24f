"""Plain data comes out of a pickle as Python's own unpickler gives it."""

import datetime
import io
import pickle

import hypothesis
from absl.testing import absltest
from hypothesis import strategies as st

from peeraid_jax.torch_io import objects, unpickler

_LEAVES = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(),
  st.floats(allow_nan=False),
  st.text(),
)
_PLAIN = st.recursive(
  _LEAVES,
  lambda inner: st.one_of(
    st.lists(inner),
    st.tuples(inner, inner),
    st.tuples(inner, inner, inner, inner),
    st.dictionaries(st.one_of(st.text(), st.integers(-9, 9)), inner),
  ),
  max_leaves=20,
)


def _load(content: bytes):
  return unpickler.Unpickler(io.BytesIO(content), {}).load()


class UnpicklerTest(absltest.TestCase):
  @hypothesis.settings(derandomize=True, deadline=None, database=None)
  @hypothesis.given(_PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
  def test_plain_data(self, data, protocol):
    self.assertEqual(_load(pickle.dumps(data, protocol)), data)

  def test_bytes(self):
    for protocol in (3, 4, 5):
      self.assertEqual(
        _load(pickle.dumps(b'\xff' * 300, protocol)), b'\xff' * 300
      )
    self.assertEqual(_load(pickle.dumps(bytearray(b'ab'), 5)), bytearray(b'ab'))

  def test_the_file_is_then_behind_the_pickle(self):
    file = io.BytesIO(pickle.dumps([1], 4) + b'rest')
    self.assertEqual(unpickler.Unpickler(file, {}).load(), [1])
    self.assertEqual(file.read(), b'rest')

  def test_what_is_shared_stays_shared(self):
    inner: list = []
    content = _load(pickle.dumps([inner, inner]))
    self.assertIs(content[0], content[1])

  def test_other_objects_are_inert(self):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
      content = _load(pickle.dumps([datetime.date(2024, 1, 2)], protocol))
      self.assertIsInstance(content[0], objects.Inert)
      self.assertEqual(content[0].name, 'datetime.date')

  def test_keys_that_are_no_names_get_a_stand_in(self):
    content = _load(pickle.dumps({(1, 2): 3, 2**70: 4, 'a': 5, None: 6}))
    self.assertEqual(list(content.values()), [3, 4, 5, 6])
    self.assertEqual(list(content)[2:], ['a', None])


if __name__ == '__main__':
  absltest.main()
