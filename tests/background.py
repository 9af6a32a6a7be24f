"""The command in the background: what it prints, and faults inside of it."""

import os
import socket
import subprocess
import sys
import threading
import time

from absl.testing import parameterized

from tests import command, helpers

# Longest time for a run to get where a test wants it, and to end then.
SECONDS = 120

# Runs the command with a fault: at a certain call, a function first does this.
WITH_FAULT = """
import runpy, sys
from {module} import {name} as original
import {module} as module
calls = 0
def faulty(*args, **kwargs):
  global calls
  calls += 1
  if calls == {call}:
    {fault}
  return original(*args, **kwargs)
module.{name} = faulty
sys.argv = sys.argv[1:]
runpy.run_module('peeraid_jax.main', run_name='__main__', alter_sys=True)
"""


def _free_port() -> int:
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


class Process:
  """A process of a run, and what it has printed so far."""

  def __init__(self, arguments, environment, *, stdout=None):
    # What is read is stdout and stderr together; or stderr alone, if stdout
    # leads elsewhere.
    read, write = os.pipe()
    self.process = subprocess.Popen(
      arguments,
      cwd=command.ROOT,
      env=environment,
      stdout=write if stdout is None else stdout,
      stderr=write,
    )
    os.close(write)
    self._lines = open(read)
    self.printed = ''
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    with self._lines as lines:
      for line in lines:
        self.printed += line

  def wait_for(self, text):
    """Waits until a text is printed."""
    until = time.monotonic() + SECONDS
    while text not in self.printed:
      if self.process.poll() is not None or time.monotonic() > until:
        raise AssertionError(f'{text!r} is not in:\n{self.printed}')
      time.sleep(0.02)

  def end(self) -> int:
    """Waits for the end; returns the exit code."""
    code = self.process.wait(SECONDS)
    self._reader.join(SECONDS)
    return code


class Case(parameterized.TestCase):
  """Starts runs of several processes, each a run of `tests/command.py`."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = helpers.class_folder(cls)
    cls.environment = command.environment(cls.folder)

  def start(self, workdir, *extra, count=2, faults=()):
    """Starts `count` processes; `faults` has settings of `WITH_FAULT`."""
    port = _free_port()
    started = []
    for index in range(count):
      arguments = command.arguments(
        workdir,
        f'--config.distributed.coordinator=127.0.0.1:{port}',
        f'--config.distributed.processes={count}',
        f'--config.distributed.process={index}',
        '--config.distributed.timeout_seconds=100',
        *extra,
      )
      if index in dict(faults):
        code = WITH_FAULT.format(**dict(faults)[index])
        arguments = [sys.executable, '-c', code, *arguments[2:]]
      started.append(self._started(arguments))
    return started

  def start_one(self, workdir, *extra, code='', **streams):
    """Starts one process; `code` runs before the command, if it is given."""
    arguments = command.arguments(workdir, *extra)
    if code:
      arguments = [sys.executable, '-c', code, *arguments[2:]]
    return self._started(arguments, **streams)

  def _started(self, arguments, **streams):
    started = Process(arguments, self.environment, **streams)
    self.addCleanup(started.end)
    self.addCleanup(started.process.kill)
    return started

  def assert_ended(self, process, code, *texts):
    self.assertEqual(process.end(), code, process.printed)
    for text in texts:
      self.assertIn(text, process.printed)
    for text in ('Traceback', 'stack trace', 'terminate called', 'disk full'):
      self.assertNotIn(text, process.printed)
