"""Result files of the benchmarks: measurements with their provenance.

A benchmark either writes its whole file at once (`write`), or adds one entry
per setting to a file that keeps the others (`add`).
"""

import pathlib

from peeraid_jax import files
from peeraid_jax.runtime import results

FOLDER = pathlib.Path(__file__).parents[1] / 'results/benchmarks'


def default(name: str) -> str:
  """Returns the path of a benchmark's result file, unless --out changes it."""
  return str(FOLDER / f'{name}.json')


def provenance(**versions: str) -> dict:
  """Returns commit, device and library versions of this process.

  Args:
    **versions: of libraries that `results.versions` does not list.
  """
  return {
    'commit': results.commit(),
    'device': results.device(),
    'versions': results.versions() | versions,
  }


def write(path: str, content: dict, **versions: str) -> None:
  """Writes a whole result file and adds its provenance."""
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  files.write_json(out, content | provenance(**versions))


def read(path: str) -> dict:
  """Returns the measurements of a file, label -> entry; {} if it is missing."""
  out = pathlib.Path(path)
  return files.read_json(out)['measured'] if out.exists() else {}


def add(path: str, what: str, label: str, entry: dict, **versions) -> None:
  """Adds or replaces one entry of a result file, with its own provenance.

  Args:
    path: the result file.
    what: what the file is about, in words.
    label: names the setting, and so the entry.
    entry: its measurements.
    **versions: as in `provenance`.
  """
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  entries = read(path) | {label: entry | provenance(**versions)}
  files.write_json(out, {'what': what, 'measured': entries})
