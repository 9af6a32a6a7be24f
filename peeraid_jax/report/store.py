"""What a report has measured so far: kept, so that nothing is done twice."""

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_COMMIT = 'measured by commit'


class Store:
  """Arrays in a folder, one file for each thing that was measured.

  Args:
    folder: made if it is not there.
    commit: of the code that measures now.

  Attributes:
    commits: of the code that measured what was asked for.
  """

  def __init__(self, folder: pathlib.Path, commit: str):
    folder.mkdir(parents=True, exist_ok=True)
    self._folder, self._commit = folder, commit
    self.commits: set[str] = set()

  def get(
    self,
    name: str,
    settings: Mapping[str, Any],
    measure: Callable[[], Mapping[str, np.ndarray]],
  ) -> dict[str, np.ndarray]:
    """Returns what was measured with these settings, or measures it.

    Args:
      name: of what is measured.
      settings: JSON; all that the numbers depend on.
      measure: () -> name -> array.
    """
    text = json.dumps(settings, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = self._folder / f'{name}-{digest}.npz'
    if path.exists():
      try:
        with path.open('rb') as file, np.load(file) as found:
          return self._told(dict(found))
      except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        path.unlink()  # Cut off; it is measured again.
    found = {k: np.asarray(v) for k, v in measure().items()}
    temporary = path.with_suffix('.tmp.npz')
    found[_COMMIT] = np.array(self._commit)
    np.savez_compressed(temporary, **found)
    os.replace(temporary, path)
    return self._told(found)

  def _told(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    self.commits.add(str(found.pop(_COMMIT, 'unknown')))
    return found
