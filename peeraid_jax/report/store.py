"""Measurements of a report on disk, so that nothing is measured twice."""

import hashlib
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peeraid_jax import files

# Entry of each file that holds the commit of the code that measured.
_COMMIT = 'measured by commit'


class Store:
  """Arrays in a folder, one `.npz` file per measurement.

  A measurement is found again by its name and a hash of its settings.

  Args:
    folder: is created if it does not exist.
    commit: commit of the code that measures now.

  Attributes:
    commits: commits of the code that made the measurements returned so far.
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
    """Returns a stored measurement, or measures and stores it.

    Args:
      name: name of the measurement, a part of the file's name.
      settings: all settings that the numbers depend on; JSON.
      measure: called without arguments if nothing is stored; returns
        name -> array.

    Returns:
      name -> array.
    """
    text = json.dumps(settings, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = self._folder / f'{name}-{digest}.npz'
    if path.exists():
      try:
        with path.open('rb') as file, np.load(file) as stored:
          return self._without_commit(dict(stored))
      except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        path.unlink()  # The file is damaged; measure again.
    arrays = {key: np.asarray(value) for key, value in measure().items()}
    arrays[_COMMIT] = np.array(self._commit)
    # NumPy adds '.npz' to names that do not end in it.
    with files.replacing(path, suffix='.npz') as temporary:
      np.savez_compressed(temporary, **arrays)
    return self._without_commit(arrays)

  def _without_commit(
    self, arrays: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Moves the commit of a measurement to `commits`."""
    self.commits.add(str(arrays.pop(_COMMIT, 'unknown')))
    return arrays
