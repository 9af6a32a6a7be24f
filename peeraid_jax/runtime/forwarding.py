"""The connection to process 0, held open when process 0 dies.

JAX connects every process of a run to a service in process 0. When this
connection breaks, JAX aborts the process with a stack trace in C++, and nothing
in Python can prevent it. So JAX connects to a socket of this process, and
threads pass the bytes on; if process 0 is lost, they report it and keep JAX's
connection open.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

# gRPC sends even local connections to a proxy that one of these names.
_PROXIES = ('grpc_proxy', 'https_proxy', 'http_proxy')
# After so many seconds without an answer, Linux closes a connection.
_SILENT_SECONDS = 30


class Forwarder:
  """Passes connections to a local port on to another address.

  Args:
    target: HOST:PORT.

  Attributes:
    address: HOST:PORT, local.
    on_lost: called when the other side closes a connection; None closes the
      local side as well, as without a forwarder.
  """

  def __init__(self, target: str):
    host, _, port = target.rpartition(':')
    self._target = host.strip('[]'), int(port)
    self._server = socket.create_server(('127.0.0.1', 0))
    self.address = f'127.0.0.1:{self._server.getsockname()[1]}'
    self.on_lost: Callable[[], None] | None = None
    threading.Thread(target=self._accept, daemon=True).start()

  def close(self) -> None:
    """Takes no further connections; those that are there stay."""
    # Without it the system call would go on.
    with contextlib.suppress(OSError):
      self._server.shutdown(socket.SHUT_RDWR)
    self._server.close()

  def _accept(self) -> None:
    while True:
      try:
        local, _ = self._server.accept()
      except OSError:
        return  # It is closed.
      try:
        remote = socket.create_connection(self._target, timeout=10)
      except OSError:
        local.close()  # JAX tries again.
        continue
      remote.settimeout(None)
      _notice_silence(remote)
      for source, sink, lost in ((local, remote, False), (remote, local, True)):
        threading.Thread(
          target=self._pass_on, args=(source, sink, lost), daemon=True
        ).start()

  def _pass_on(self, source, sink, may_be_lost: bool) -> None:
    with contextlib.suppress(OSError):
      while data := source.recv(1 << 16):
        sink.sendall(data)
    if may_be_lost and self.on_lost is not None:
      self.on_lost()
      return
    # It ends the thread of the other direction, too.
    for end in (source, sink):
      with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
      end.close()


def _notice_silence(connection: socket.socket) -> None:
  """Lets the system close a connection whose other machine has vanished."""
  connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  if hasattr(socket, 'TCP_USER_TIMEOUT'):  # Linux
    tcp = socket.IPPROTO_TCP
    connection.setsockopt(tcp, socket.TCP_KEEPIDLE, _SILENT_SECONDS // 3)
    connection.setsockopt(tcp, socket.TCP_KEEPINTVL, _SILENT_SECONDS // 6)
    connection.setsockopt(tcp, socket.TCP_KEEPCNT, 4)
    connection.setsockopt(tcp, socket.TCP_USER_TIMEOUT, _SILENT_SECONDS * 1000)


@contextlib.contextmanager
def connecting() -> Iterator[list[Forwarder]]:
  """Context of `jax.distributed.initialize`; yields a list for the forwarder.

  The list stays empty in process 0, and where no forwarder can be: in versions
  of JAX without the function that is replaced here, with proxies, and with
  encrypted connections, for which JAX checks the host's name. Then JAX aborts
  the process if process 0 dies.
  """
  made: list[Forwarder] = []
  try:
    from jax._src.distributed import _jax as module

    original = module.get_distributed_runtime_client
  except (ImportError, AttributeError):
    yield made
    return

  def client(address, index, *args, **kwargs):
    encrypted = any(v for k, v in kwargs.items() if k.startswith('mtls'))
    proxy = any(os.environ.get(name) for name in _PROXIES)
    if index and not encrypted and not proxy:
      with contextlib.suppress(OSError, ValueError):
        made.append(Forwarder(address))
        address = made[0].address
    return original(address, index, *args, **kwargs)

  module.get_distributed_runtime_client = client
  try:
    yield made
  finally:
    module.get_distributed_runtime_client = original
