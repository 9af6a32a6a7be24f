"""A board on which the processes of a run write, and which all of them read.

It is the key-value store that JAX keeps in process 0.
"""

import json
from typing import Any

_PREFIX = 'peeraid/'


class Board:
  """The board, as one process sees it.

  Args:
    store: JAX's key-value store.
    index: of this process.
    count: number of processes.

  Attributes:
    index, others: indices of this process and of all others.
  """

  def __init__(self, store, index: int, count: int):
    self._store, self.index = store, index
    self.others = [other for other in range(count) if other != index]

  def write(self, kind: str, value: Any) -> None:
    """Writes a JSON value; it replaces an earlier one of this kind."""
    key = f'{_PREFIX}{kind}/{self.index}'
    self._store.key_value_set(key, json.dumps(value), allow_overwrite=True)

  def read(self) -> dict[str, dict[int, Any]]:
    """Returns kind -> process -> what it wrote."""
    content: dict[str, dict[int, Any]] = {}
    for key, text in self._store.key_value_dir_get(_PREFIX):
      kind, index = key.split('/')[-2:]
      content.setdefault(kind, {})[int(index)] = json.loads(text)
    return content


def of_run() -> Board | None:
  """Returns the board of this run, once JAX has connected its processes.

  Returns:
    None in versions of JAX that keep no such store where this one has it: it is
    no public part of JAX.
  """
  try:
    from jax._src import distributed

    state = distributed.global_state
    store, index, count = state.client, state.process_id, state.num_processes
    _ = store.key_value_set, store.key_value_dir_get
  except (ImportError, AttributeError):
    return None
  return Board(store, index, count)
