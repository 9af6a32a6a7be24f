"""SHA-256 of archives: of those that are published, or were used before."""

import hashlib
import pathlib

from peeraid_jax import files
from peeraid_jax.data import facts, notes

# Of archives without published checksum, beside the prepared data.
_RECORD = 'peeraid_archives.json'
# Reading such an archive takes minutes.
_LARGE = 2**32


def check(
  entry: facts.Source,
  paths: list[pathlib.Path],
  folder: pathlib.Path,
  *,
  downloaded: bool,
) -> None:
  """Checks that archives are those that are published.

  An archive without published checksum is compared with the one that was used
  the first time.

  Args:
    entry: record of the data set.
    paths: its archives; folders that they unpack to are not checked.
    folder: the folder of this data set, in which checksums are recorded.
    downloaded: the archives were downloaded, and have to be the published
      ones. If the user has provided another one, there is a note alone: it may
      be a part of the published one, on purpose.

  Raises:
    ValueError: a downloaded archive is another one.
  """
  published = dict(zip(entry.archives, entry.sha256, strict=False))
  recorded = _read(folder / _RECORD)
  new = {}
  for path in paths:
    if not path.is_file():
      continue
    name = path.name if len(entry.archives) > 1 else entry.archives[0]
    expected = published.get(name) or recorded.get(name)
    actual = _sha256(path)
    if expected is None:
      new[name] = actual
    elif actual != expected:
      known = 'published' if name in published else 'first used'
      problem = f'{path} is not the {known} {name}: its SHA-256 is {actual}, '
      problem += f'not {expected}'
      if downloaded:
        raise ValueError(f'{problem}. It is deleted; download it again')
      notes.say(f'{problem}; it is used as it is')
  if new:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / _RECORD, {**recorded, **new})


def _sha256(path: pathlib.Path) -> str:
  if path.stat().st_size > _LARGE:
    notes.say(f'reading {path} for its checksum, which takes minutes')
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _read(path: pathlib.Path) -> dict[str, str]:
  """Returns the recorded checksums by name; none if there is no record."""
  advice = 'remove it if the archives are the right ones'
  try:
    content = files.read_json(path)
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise ValueError(f'{error}; {advice}') from error
  if not isinstance(content, dict):
    raise ValueError(f'{path} is damaged: it should hold an object; {advice}')
  return {str(name): str(value) for name, value in content.items()}
