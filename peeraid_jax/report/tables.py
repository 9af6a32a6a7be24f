"""Markdown tables of result files, of our runs and beside the papers' numbers.

python -m peeraid_jax.report.tables experiments/results [FILE ...]

Without files, this prints all tables that `tables.toml`, in the parent of the
folder of results, describes. With files, it writes each table between its
markers in the files: `<!-- tables: begin NAME -->` and `<!-- tables: end -->`.
"""

import pathlib
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence

from peeraid_jax.report import paper_tables, result_files, run_tables

_MARKED = re.compile(
  r'<!-- tables: begin (\w+) -->\n(.*?)<!-- tables: end -->', re.DOTALL
)


def render_all(folder) -> dict[str, str]:
  """Renders all tables.

  Args:
    folder: folder of result files; `tables.toml` lies beside it.

  Returns:
    Name -> Markdown: 'results' for our runs, and the name of each paper.

  Raises:
    FileNotFoundError: the folder or `tables.toml` is missing.
    ValueError: a file is damaged.
  """
  folder = pathlib.Path(folder)
  description_path = folder.parent / 'tables.toml'
  for path in (folder, description_path):
    if not path.exists():
      raise FileNotFoundError(f'{path} does not exist')
  descriptions = tomllib.loads(description_path.read_text())
  groups = result_files.read(folder)
  rendered = {'results': run_tables.render(descriptions['results'], groups)}
  for name, rows in descriptions['papers'].items():
    rendered[name] = paper_tables.render(rows, groups)
  return rendered


def insert(document: str, rendered: Mapping[str, str]) -> str:
  """Replaces what stands between the markers of a document by the tables.

  Args:
    document: text of a Markdown file.
    rendered: name -> Markdown.

  Returns:
    The new text.

  Raises:
    ValueError: the document has no markers, or those of an unknown table.
  """
  names = [match[1] for match in _MARKED.finditer(document)]
  if not names or not set(names) <= set(rendered):
    raise ValueError(
      f'markers of {", ".join(names) or "no table"}; known: '
      f'{", ".join(rendered)}'
    )
  return _MARKED.sub(
    lambda match: (
      f'<!-- tables: begin {match[1]} -->\n{rendered[match[1]]}\n'
      '<!-- tables: end -->'
    ),
    document,
  )


def main(arguments: Sequence[str]) -> None:
  """Prints the tables, or writes them into files.

  Args:
    arguments: the folder of results, then the files.
  """
  if not arguments:
    sys.exit('error: name the folder of results, such as experiments/results')
  folder, *documents = arguments
  try:
    rendered = render_all(folder)
    for document in map(pathlib.Path, documents):
      document.write_text(insert(document.read_text(), rendered))
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  if not documents:
    print('\n\n'.join(rendered.values()))


if __name__ == '__main__':
  main(sys.argv[1:])
