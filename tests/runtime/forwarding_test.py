"""A connection that is passed on, and the one that is lost."""

import socket
import threading
from unittest import mock

from absl.testing import absltest
from jax._src import distributed

from peeraid_jax.runtime import forwarding


class ForwarderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.server = socket.create_server(('127.0.0.1', 0))
    self.addCleanup(self.server.close)
    port = self.server.getsockname()[1]
    self.forwarder = forwarding.Forwarder(f'127.0.0.1:{port}')
    self.addCleanup(self.forwarder.close)
    host, port = self.forwarder.address.split(':')
    self.local = socket.create_connection((host, int(port)), timeout=60)
    self.addCleanup(self.local.close)
    self.remote, _ = self.server.accept()
    self.remote.settimeout(60)
    self.addCleanup(self.remote.close)

  def test_both_directions(self):
    self.local.sendall(b'question')
    self.assertEqual(self.remote.recv(100), b'question')
    self.remote.sendall(b'answer')
    self.assertEqual(self.local.recv(100), b'answer')
    self.local.close()
    self.assertEqual(self.remote.recv(100), b'')

  def test_the_other_side_closes_it(self):
    self.remote.close()
    self.assertEqual(self.local.recv(100), b'')

  def test_a_loss_is_reported_and_held_back(self):
    lost = threading.Event()
    self.forwarder.on_lost = lost.set
    self.remote.close()
    self.assertTrue(lost.wait(60))
    self.local.settimeout(0.1)
    with self.assertRaises(TimeoutError):
      self.local.recv(100)


class ConnectingTest(absltest.TestCase):
  def _addresses(self, index, **kwargs):
    """Returns the address that JAX connects to, and the forwarders."""
    replaced = distributed._jax
    with mock.patch.object(
      replaced,
      'get_distributed_runtime_client',
      lambda address, *a, **k: address,
    ):
      with forwarding.connecting() as made:
        # As `jax.distributed.initialize` does.
        address = replaced.get_distributed_runtime_client(
          '127.0.0.1:1', index, **kwargs
        )
    for forwarder in made:
      forwarder.close()
    return address, made

  def test_who_connects_through_a_forwarder(self):
    with mock.patch.dict('os.environ', clear=True):
      address, made = self._addresses(1)
      self.assertEqual(address, made[0].address)
      for index, arguments in ((0, {}), (1, {'mtls_ca_file': 'file'})):
        self.assertEqual(
          self._addresses(index, **arguments), ('127.0.0.1:1', [])
        )
    with mock.patch.dict('os.environ', http_proxy='proxy:80'):
      self.assertEqual(self._addresses(1), ('127.0.0.1:1', []))

  def test_versions_of_jax_that_connect_otherwise(self):
    with mock.patch.object(distributed, '_jax', object()):
      with forwarding.connecting() as made:
        self.assertEmpty(made)


if __name__ == '__main__':
  absltest.main()
