"""The files that an evaluation resumes from.

A JSON file holds the progress and is replaced after every batch. The
adversarial images lie beside it in a NumPy file, which is written in place
and before the JSON file: an image counts only once the progress lists it.
"""

import hashlib
import json
import pathlib
import zlib
from typing import Any, NoReturn

import numpy as np

from peeraid_jax import files


def fingerprint(settings: dict[str, Any], images, labels) -> str:
  """Returns a digest that identifies an evaluation.

  Args:
    settings: JSON.
    images: [N, H, W, C].
    labels: [N].
  """
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for array in (images, labels):
    digest.update(str((array.shape, array.dtype)).encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()


def _checksum(progress: dict[str, Any]) -> str:
  text = json.dumps(progress, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


class Store:
  """The saved progress of one evaluation.

  Args:
    path: of the JSON file; None keeps everything in memory.
    digest: of `fingerprint`.
    images: float32 [N, H, W, C], clean.

  Attributes:
    saved: the progress that was read; None if there was no file.
    adversarial: float32 [N, H, W, C], to be changed in place; initially the
      clean images, or those that were read.

  Raises:
    ValueError: the file belongs to another evaluation, or is damaged.
    OSError: a file cannot be written.
  """

  def __init__(self, path, digest: str, images: np.ndarray):
    self._path = pathlib.Path(path) if path is not None else None
    self._digest, self._clean = digest, images
    self.saved: dict[str, Any] | None = None
    if self._path is None:
      self.adversarial = images.copy()
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    images_path = self._path.with_name(self._path.name + '.images.npy')
    for path in (self._path, images_path):
      if path.is_dir():
        raise ValueError(f'{path} is a folder; name another file as state_path')
    if self._path.exists():
      self.saved = self._read()
      self.adversarial = self._open(images_path, images)
      return
    self.adversarial = np.lib.format.open_memmap(
      images_path, mode='w+', dtype=np.float32, shape=images.shape
    )
    self.adversarial[...] = images

  def _open(self, images_path: pathlib.Path, images: np.ndarray):
    """Maps the file of adversarial images into memory."""
    try:
      adversarial = np.lib.format.open_memmap(images_path, mode='r+')
    except Exception as error:  # NumPy raises many types on damaged files.
      raise ValueError(
        f'{images_path} cannot be read ({error}); delete {self._path} to '
        'start anew'
      ) from None
    if (adversarial.shape, adversarial.dtype) != (images.shape, np.float32):
      raise ValueError(
        f'{images_path} holds other images; delete {self._path} to start anew'
      )
    return adversarial

  def _read(self) -> dict[str, Any]:
    """Reads the JSON file and checks that it belongs to this evaluation."""
    try:
      progress = files.read_json(self._path)
      digest, checksum = progress.pop('digest'), progress.pop('checksum')
      if checksum != _checksum(progress):
        raise ValueError('the checksum does not match')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f'{self._path} is not the state of an evaluation ({error}); delete '
        'it to start anew'
      ) from None
    if digest != self._digest:
      self.refuse(
        'is the state of another evaluation: other settings, images or labels'
      )
    return progress

  def refuse(self, why: str) -> NoReturn:
    """Raises the error that the saved state cannot be used.

    Args:
      why: what it is, after its name.
    """
    raise ValueError(
      f'{self._path} {why}. Name another file, or delete it to start anew'
    )

  def code(self, rows) -> int:
    """Returns a checksum of adversarial images; sets of points combine by ^.

    Args:
      rows: int [B], numbers of points.
    """
    code = 0
    for row in rows:
      code ^= zlib.crc32(self.adversarial[row].tobytes(), int(row))
    return code

  def forget(self, rows) -> None:
    """Puts the clean images back.

    Args:
      rows: int [B], numbers of points.
    """
    for row in rows:
      # Only what differs: the file may be large.
      if not np.array_equal(self.adversarial[row], self._clean[row]):
        self.adversarial[row] = self._clean[row]

  def write(self, progress: dict[str, Any]) -> None:
    """Saves the adversarial images, then the progress.

    Args:
      progress: JSON.
    """
    if self._path is None:
      return
    self.adversarial.flush()
    content = {
      'digest': self._digest,
      'checksum': _checksum(progress),
      **progress,
    }
    # In one line: indented, the file would have a line per point.
    files.write_text(self._path, json.dumps(content))
