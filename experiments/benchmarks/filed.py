"""Result files of benchmarks: what was measured, where, and by which commit."""

import pathlib

from peeraid_jax import results

FOLDER = pathlib.Path(__file__).parents[1] / 'results/benchmarks'


def default(name: str) -> str:
  """Returns the file that a benchmark writes unless it is told another."""
  return str(FOLDER / f'{name}.json')


def write(path: str, content: dict) -> None:
  """Writes what a benchmark found, with its provenance."""
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  provenance = {
    'commit': results.commit(),
    'device': results.device(),
    'versions': results.versions(),
  }
  results.write(out, content | provenance)
