"""What a report has measured so far: kept, so that nothing is done twice."""

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Store:
  """Arrays in a folder, one file for each thing that was measured.

  Args:
    folder: made if it is not there.
  """

  def __init__(self, folder: pathlib.Path):
    folder.mkdir(parents=True, exist_ok=True)
    self._folder = folder

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
          return dict(found)
      except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        path.unlink()  # Cut off; it is measured again.
    found = {k: np.asarray(v) for k, v in measure().items()}
    temporary = path.with_suffix('.tmp.npz')
    np.savez_compressed(temporary, **found)
    os.replace(temporary, path)
    return found
