"""Result files of benchmarks: what was measured, where, and by which commit."""

import json
import pathlib

from peeraid_jax import results

FOLDER = pathlib.Path(__file__).parents[1] / 'results/benchmarks'


def default(name: str) -> str:
  """Returns the file that a benchmark writes unless it is told another."""
  return str(FOLDER / f'{name}.json')


def provenance(**versions: str) -> dict:
  """Returns what tells where a number is from.

  Args:
    **versions: of libraries that are not ours.
  """
  return {
    'commit': results.commit(),
    'device': results.device(),
    'versions': results.versions() | versions,
  }


def write(path: str, content: dict, **versions: str) -> None:
  """Writes what a benchmark found, with its provenance."""
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  results.write(out, content | provenance(**versions))


def read(path: str) -> dict:
  """Returns label -> entry of a file that grows by entries; {} of none."""
  out = pathlib.Path(path)
  return json.loads(out.read_text())['measured'] if out.exists() else {}


def add(path: str, what: str, label: str, entry: dict, **versions) -> None:
  """Writes an entry, with a provenance of its own, beside the others."""
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  entries = read(path) | {label: entry | provenance(**versions)}
  results.write(out, {'what': what, 'measured': entries})
