"""The file that an evaluation resumes from.

JSON, replaced whole after every batch; the adversarial images lie beside it
in a NumPy file that is written in place, before the JSON that counts them.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np


def fingerprint(settings: dict[str, Any], images, labels) -> str:
  """Returns a digest of what is evaluated: settings, images and labels."""
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for array in (images, labels):
    digest.update(str((array.shape, array.dtype)).encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()


def _checksum(progress: dict[str, Any]) -> str:
  text = json.dumps(progress, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


class Store:
  """Progress of one evaluation, on disk or (path None) nowhere.

  Args:
    path: of the JSON.
    digest: of `fingerprint`.
    images: float32 [N, H, W, C], the clean ones.

  Raises:
    ValueError: the file is of another evaluation, or cannot be read.
    OSError: it cannot be written.
  """

  def __init__(self, path, digest: str, images: np.ndarray):
    self._path = pathlib.Path(path) if path is not None else None
    self._digest = digest
    self.saved: dict[str, Any] | None = None
    if self._path is None:
      self.adversarial = images.copy()
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    beside = self._path.with_name(self._path.name + '.images.npy')
    if self._path.exists():
      self.saved = self._read()
      self.adversarial = self._open(beside, images)
      return
    self.adversarial = np.lib.format.open_memmap(
      beside, mode='w+', dtype=np.float32, shape=images.shape
    )
    self.adversarial[...] = images

  def _open(self, beside: pathlib.Path, images: np.ndarray):
    try:
      found = np.lib.format.open_memmap(beside, mode='r+')
    except Exception as error:  # NumPy raises whatever it trips over.
      raise ValueError(
        f'{beside} cannot be read ({error}); delete {self._path} to begin anew'
      ) from None
    if (found.shape, found.dtype) != (images.shape, np.float32):
      raise ValueError(
        f'{beside} holds other images; delete {self._path} to begin anew'
      )
    return found

  def _read(self) -> dict[str, Any]:
    try:
      found = json.loads(self._path.read_text())
      digest, checksum = found.pop('digest'), found.pop('checksum')
      if checksum != _checksum(found):
        raise ValueError('damaged')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f'{self._path} is not the state of an evaluation ({error}); delete '
        'it to begin anew'
      ) from None
    if digest != self._digest:
      raise ValueError(
        f'{self._path} is the state of another evaluation: other settings, '
        'images or labels. Name another file, or delete it to begin anew'
      )
    return found

  def write(self, progress: dict[str, Any]) -> None:
    """Saves progress, whole or not at all."""
    if self._path is None:
      return
    self.adversarial.flush()
    temporary = self._path.with_name(self._path.name + '.tmp')
    whole = {
      'digest': self._digest,
      'checksum': _checksum(progress),
      **progress,
    }
    temporary.write_text(json.dumps(whole))
    os.replace(temporary, self._path)
